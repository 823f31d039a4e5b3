//! A random writer against the tail: what was written is delivered once and in
//! the order of its file, or it may be lost by what was done to the file, and
//! then a gap says so if the tail can know.
//!
//! `SEALTAIL_MODEL=<first seed>:<count>` runs others, or very many. About one in
//! a thousand fails (161, 1059, 2041, 3029, 4058; now and then 146, by the grain
//! of the filesystem's clock): kills, deletions and rotations that come together
//! while a line is unfinished. Its rest comes without the mark of a cut (what a
//! vanished file still owed is remembered in memory alone until its successor has
//! a first line), or the model does not see that a gap covers what is missing.
//! They belong to issue 4.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::*;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A file that the writer made, under whatever name it has by now.
#[derive(Default)]
struct Written {
    name: String,
    /// The tailer that runs now has it open.
    open: bool,
    /// The journal had a position of it when this tailer began.
    known: bool,
    deleted: bool,
    tokens: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Docker,
    Cri,
}

struct Model {
    world: World,
    rng: Rng,
    glob_keeps_rotated: bool,
    /// Of each source: its name, form, and the index of its live file.
    sources: Vec<(&'static str, Form, usize)>,
    files: Vec<Written>,
    next_token: u32,
    /// Bytes of a raw line that are still to be written, of each source.
    owed: Vec<Vec<u8>>,
    /// Parts of an unfinished line, of each source and stream.
    parts: HashMap<(usize, &'static str), String>,
    lines: HashSet<String>,
    /// What was done to the files may have taken these.
    at_risk: BTreeSet<u32>,
    /// These are gone with a file that the journal knew: a gap must say so.
    needs_gap: BTreeSet<u32>,
    rotations: u32,
}

/// Each token that is whole: `#12` without its `;` may be the beginning of `#123;`.
fn tokens(text: &str) -> impl Iterator<Item = u32> + '_ {
    let whole = text.split_inclusive(';').filter_map(|t| t.strip_suffix(';'));
    whole.filter_map(|t| t.rsplit('#').next()?.parse().ok())
}

/// What was delivered, with the pieces of a line put together again.
fn joined(state: &State) -> Vec<(FileId, Stream, String)> {
    let mut open: HashMap<(FileId, Stream), String> = HashMap::new();
    let mut all = Vec::new();
    for line in &state.lines {
        let key = (line.file, line.stream);
        let before = open.remove(&key);
        let text = match before {
            Some(before) if line.cut.before => before + &line.text,
            Some(before) => {
                all.push((key.0, key.1, before));
                line.text.clone()
            }
            None => line.text.clone(),
        };
        if line.cut.after.is_some() {
            open.insert(key, text);
        } else {
            all.push((key.0, key.1, text));
        }
    }
    all.extend(open.into_iter().map(|((file, stream), text)| (file, stream, text)));
    all
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let glob_keeps_rotated = rng.chance(50);
        let mut world = World::with(|o| {
            if glob_keeps_rotated {
                o.sources[0].include[0] = o.sources[0].include[0].replace("*.log", "*.log*");
            }
            o.sources[0].max_line = if rng.chance(30) { 200 } else { 1 << 20 };
        });
        world.journal.block = rng.chance(60).then(|| 1 + rng.below(6) as usize);
        let sources = [("a.log", Form::Text), ("b.log", Form::Docker), ("c.log", Form::Cri)];
        let files =
            sources.map(|(name, _)| Written { name: name.to_owned(), ..Written::default() });
        let sources = sources.iter().enumerate().map(|(i, (n, f))| (*n, *f, i)).collect();
        Self {
            world,
            rng,
            glob_keeps_rotated,
            sources,
            files: files.into(),
            next_token: 0,
            owed: vec![Vec::new(); 3],
            parts: HashMap::new(),
            lines: HashSet::new(),
            at_risk: BTreeSet::new(),
            needs_gap: BTreeSet::new(),
            rotations: 0,
        }
    }

    fn write(&mut self, source: usize) {
        let (name, form, live) = self.sources[source];
        let token = self.next_token;
        self.next_token += 1;
        self.files[live].tokens.push(token);
        let pad = self.rng.below(12) as usize;
        let mut text = format!("{}#{token};", "é".repeat(pad));
        let stream = if self.rng.chance(50) { "stdout" } else { "stderr" };
        let more = form != Form::Text && self.rng.chance(35);
        let key = (source, if form == Form::Text { "" } else { stream });
        if form == Form::Text && self.rng.chance(20) {
            let statement = "2026-01-02 03:04:05.678 UTC [7] LOG:  ";
            text = format!("{}{text}", if self.rng.chance(50) { statement } else { "\t" });
        }
        let part = self.parts.entry(key).or_default();
        part.push_str(&text);
        if !more {
            self.lines.insert(std::mem::take(part));
        }
        let raw = match form {
            Form::Text => text + "\n",
            Form::Docker => docker(&(text + if more { "" } else { "\n" }), stream),
            Form::Cri => cri(stream, if more { "P" } else { "F" }, &text),
        };
        let mut bytes = std::mem::take(&mut self.owed[source]);
        bytes.extend_from_slice(raw.as_bytes());
        if self.rng.chance(25) {
            let keep = self.rng.below(raw.len() as u64) as usize;
            self.owed[source] = bytes.split_off(bytes.len() - keep);
        }
        self.world.append(name, bytes);
    }

    fn delivered(state: &State) -> BTreeSet<u32> {
        joined(state).iter().flat_map(|(_, _, text)| tokens(text).collect::<Vec<_>>()).collect()
    }

    /// Every token of the file that is not in the journal may be lost from here.
    fn risk(&mut self, file: usize) {
        let safe = Self::delivered(&self.world.journal.now);
        let lost = self.files[file].tokens.iter().filter(|t| !safe.contains(t));
        self.at_risk.extend(lost);
    }

    /// Finishes the raw line: writers do not rotate in the middle of one.
    fn finish(&mut self, source: usize) {
        let owed = std::mem::take(&mut self.owed[source]);
        self.world.append(self.sources[source].0, owed);
    }

    fn rotate(&mut self, source: usize) {
        self.finish(source);
        let (name, _, live) = self.sources[source];
        self.rotations += 1;
        let to = format!("{name}.{}", self.rotations);
        let file = &self.files[live];
        if !file.open && !file.known && !self.glob_keeps_rotated {
            self.risk(live);
        }
        self.world.rename(name, &to);
        self.files[live].name = to;
        self.successor(source);
    }

    fn successor(&mut self, source: usize) {
        let name = self.sources[source].0.to_owned();
        self.world.append(&name, "");
        self.files.push(Written { name, ..Written::default() });
        self.sources[source].2 = self.files.len() - 1;
    }

    fn delete(&mut self, file: usize) {
        if !self.files[file].open {
            if self.files[file].known {
                let safe = Self::delivered(&self.world.journal.now);
                let lost = self.files[file].tokens.iter().filter(|t| !safe.contains(t));
                self.needs_gap.extend(lost.filter(|t| !self.at_risk.contains(t)));
            }
            self.risk(file);
        }
        fs::remove_file(self.world.path(&self.files[file].name)).unwrap();
        self.files[file].deleted = true;
    }

    fn scan(&mut self) {
        self.world.clock.0.fetch_add(1000, Ordering::SeqCst);
        self.world.tailer.step(&mut self.world.journal);
        for file in self.files.iter_mut().filter(|f| !f.deleted) {
            file.open |= file.known || self.glob_keeps_rotated || file.name.ends_with(".log");
        }
    }

    fn kill(&mut self) {
        let durable = Self::delivered(&self.world.journal.durable);
        for at in 0..self.files.len() {
            let file = &mut self.files[at];
            let known = file.tokens.iter().any(|t| durable.contains(t));
            file.open = false;
            file.known = known;
            let hidden = !self.glob_keeps_rotated && !file.name.ends_with(".log");
            if !file.deleted && (known || !hidden) {
                continue;
            }
            let lost: Vec<u32> =
                file.tokens.iter().copied().filter(|t| !durable.contains(t)).collect();
            // Those that an earlier deed had put at risk may have gone with it.
            if known {
                self.needs_gap.extend(lost.iter().filter(|t| !self.at_risk.contains(t)));
            }
            self.at_risk.extend(lost);
        }
        self.world.kill();
    }

    fn act(&mut self) {
        let source = self.rng.below(3) as usize;
        match self.rng.below(100) {
            0..=44 => self.write(source),
            45..=59 => {
                for _ in 0..self.rng.below(4) {
                    self.world.tailer.step(&mut self.world.journal);
                }
            }
            60..=71 => self.scan(),
            72..=79 => self.world.journal.durable = self.world.journal.now.clone(),
            80..=84 => self.rotate(source),
            85..=87 => {
                self.finish(source);
                let (name, _, live) = self.sources[source];
                self.risk(live);
                self.world.truncate(name);
                // What was in it is as good as deleted; the name lives on.
                let open = self.files[live].open;
                self.files[live].deleted = true;
                self.files.push(Written { name: name.to_owned(), open, ..Written::default() });
                self.sources[source].2 = self.files.len() - 1;
            }
            88..=89 => {
                self.finish(source);
                self.delete(self.sources[source].2);
                self.successor(source);
            }
            90..=92 => {
                let at = self.rng.below(self.files.len() as u64) as usize;
                if !self.files[at].deleted && self.sources.iter().all(|s| s.2 != at) {
                    self.delete(at);
                }
            }
            93..=94 => {
                let ms = self.rng.below(7000);
                self.world.clock.0.fetch_add(ms, Ordering::SeqCst);
            }
            _ => self.kill(),
        }
    }

    fn check(mut self) {
        for source in 0..3 {
            self.finish(source);
            self.write(source);
            self.finish(source);
        }
        for _ in 0..6 {
            self.world.pass(6000);
        }
        let state = &self.world.journal.now;
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<(FileId, Stream), u32> = BTreeMap::new();
        for (file, stream, text) in joined(state) {
            for token in tokens(&text) {
                assert!(seen.insert(token), "{token} twice");
                let before = last.insert((file, stream), token);
                assert!(before.is_none_or(|b| b < token), "{token} after {before:?}");
            }
        }
        for line in &state.lines {
            let whole =
                |text: &str| self.lines.contains(text) || tokens(text).any(|t| self.touched(t));
            assert!(line.cut.is_cut() || line.text.split('\n').all(whole), "{line:?}");
        }
        for token in 0..self.next_token {
            assert!(seen.contains(&token) || self.at_risk.contains(&token), "{token} is missing");
        }
        if self.needs_gap.iter().any(|t| !seen.contains(t)) {
            assert!(!state.gaps.is_empty(), "lost without a word");
        }
        assert!(self.world.tailer.drained());
        assert_eq!(self.world.tailer.status().lag_bytes, 0);
        assert_eq!(self.world.tailer.status().held_bytes, 0);
    }

    /// Whether the line of this token may be missing a part: some token of its
    /// source's line was at risk.
    fn touched(&self, token: u32) -> bool {
        let tag = format!("#{token};");
        let line = self.lines.iter().chain(self.parts.values()).find(|l| l.contains(&tag));
        line.is_none_or(|l| {
            let unfinished = !self.lines.contains(l.as_str());
            unfinished || tokens(l).any(|t| self.at_risk.contains(&t))
        })
    }
}

#[test]
fn nothing_is_lost_or_doubled_whatever_the_writer_does() {
    let (first, count) = std::env::var("SEALTAIL_MODEL")
        .ok()
        .and_then(|v| {
            let (first, count) = v.split_once(':')?;
            Some((first.parse().ok()?, count.parse().ok()?))
        })
        .unwrap_or((1u64, 100u64));
    for seed in first..first + count {
        let run = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            for _ in 0..120 {
                model.act();
            }
            model.check();
        });
        assert!(run.is_ok(), "failed with SEALTAIL_MODEL={seed}:1");
    }
}
