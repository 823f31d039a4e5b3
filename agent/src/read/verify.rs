//! `sealtail verify`: is the archive what was written, all of it, and up to when?
//!
//! The verdicts are separate, and nothing that was not looked at passes
//! (SEAL-FORMAT.md section 4):
//! - `intact`: every object, proof and checkpoint is what the key signed, and
//!   there is nothing beside them;
//! - `complete`: no leaf, object or record is missing; gaps are signed;
//! - `fresh`: it reaches as far as it is asked to;
//! - `decrypted`: everything opens with the identity and agrees with its leaf.

use super::archive::{Archive, ReadError};
use super::batch::{self, KeyObject};
use super::identity::Identities;
use super::walk::{Fault, Walk};
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::leaf::{Body, Leaf};
use sealtail_seal::note::Checkpoint;
use sealtail_seal::proof::Proof;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// What is asked.
pub struct Request {
    /// The keys that may vouch for a log: one of them has to have signed all of it.
    pub keys: Vec<VerifyingKey>,
    /// Opens the objects, if they are to be opened.
    pub identities: Identities,
    /// A signed checkpoint that was kept elsewhere: the archive must reach it.
    pub expect: Option<String>,
    /// The newest leaf must be at most this old, in ms; with the time now, Unix ms.
    pub max_age: Option<(u64, u64)>,
    /// Two heartbeats, in ms: how long an object at the tip may be on its way.
    pub in_flight: u64,
    /// The first leaf that an archive may begin with, when it was moved: what was
    /// before is elsewhere, and whoever asks knows it.
    pub begins_at: u64,
    /// Now, Unix ms.
    pub now: u64,
}

/// One verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It was not asked for.
    NotAsked,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing was altered or added.
    pub intact: Verdict,
    /// Nothing is missing but what a signed gap names.
    pub complete: Verdict,
    /// It reaches as far as was asked.
    pub fresh: Verdict,
    /// Everything opens and agrees.
    pub decrypted: Verdict,
    /// What is wrong: which object, and why.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// The logs.
    pub logs: Vec<Log>,
}

/// One incarnation.
#[derive(Debug, Serialize)]
pub struct Log {
    /// Its origin.
    pub origin: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Leaves that were checked.
    pub leaves: u64,
    /// Records that they cover.
    pub records: u64,
    /// Objects that were checked, and their bytes.
    pub objects: u64,
    /// Bytes of the objects.
    pub bytes: u64,
    /// Signed gaps.
    pub gaps: u64,
    /// Whether it ends with an `end` leaf.
    pub ended: bool,
    /// The time in the newest leaf.
    pub reaches: String,
}

impl Report {
    /// Whether everything that was asked holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let asked = [self.intact, self.complete, self.fresh, self.decrypted];
        !asked.contains(&Verdict::No) && asked.contains(&Verdict::Yes)
    }

    fn altered(&mut self, what: String) {
        self.intact = Verdict::No;
        self.problems.push(what);
    }

    fn missing(&mut self, what: String) {
        self.complete = Verdict::No;
        self.problems.push(what);
    }
}

/// Verifies every log of the archive.
///
/// # Errors
/// When the archive cannot be read; what is wrong with it is in the report.
pub async fn verify(archive: &Archive, mut request: Request) -> Result<Report, ReadError> {
    let decrypt = !request.identities.is_empty();
    let mut report = Report {
        intact: Verdict::Yes,
        complete: Verdict::Yes,
        fresh: if request.expect.is_some() || request.max_age.is_some() {
            Verdict::Yes
        } else {
            Verdict::NotAsked
        },
        decrypted: if decrypt { Verdict::Yes } else { Verdict::NotAsked },
        problems: Vec::new(),
        notes: Vec::new(),
        logs: Vec::new(),
    };
    let incarnations = archive.incarnations();
    if incarnations.is_empty() {
        report.missing("there is no log in this archive: nothing to verify".to_owned());
        report.intact = Verdict::No;
        return Ok(report);
    }
    let mut listed = BTreeSet::new();
    let mut expected_found = false;
    for (origin, incarnation) in &incarnations {
        let Some(walk) = Walk::new(archive, origin, incarnation, &request.keys) else {
            continue;
        };
        let mut verifier = Verifier {
            archive,
            report: &mut report,
            identities: &mut request.identities,
            listed: &mut listed,
            decrypt,
            in_flight: request.in_flight,
            begins_at: request.begins_at,
            now: request.now,
        };
        let (walk, log) = verifier.log(walk, origin, incarnation).await?;
        if let Some(expect) = &request.expect {
            expected_found |= expect_checkpoint(expect, &log, &walk, &mut report);
        }
        report.logs.push(log);
    }
    if request.expect.is_some() && !expected_found {
        report.fresh = Verdict::No;
        report
            .problems
            .push("the expected checkpoint is of a log that is not in this archive".to_owned());
    }
    for key in archive.keys().filter(|key| !listed.contains(*key)) {
        report.altered(format!("{} is unlisted: no leaf names it", archive.name(key)));
    }
    check_age(&request, &mut report);
    Ok(report)
}

struct Verifier<'a> {
    archive: &'a Archive,
    report: &'a mut Report,
    identities: &'a mut Identities,
    listed: &'a mut BTreeSet<String>,
    decrypt: bool,
    in_flight: u64,
    begins_at: u64,
    now: u64,
}

impl Verifier<'_> {
    async fn log<'w>(
        &mut self,
        mut walk: Walk<'w>,
        origin: &str,
        incarnation: &str,
    ) -> Result<(Walk<'w>, Log), ReadError> {
        let mut log = Log {
            origin: origin.to_owned(),
            incarnation: incarnation.to_owned(),
            leaves: 0,
            records: 0,
            objects: 0,
            bytes: 0,
            gaps: 0,
            ended: false,
            reaches: String::new(),
        };
        let all = walk.end;
        self.beginning(&walk, &format!("{origin}/{incarnation}"));
        for index in walk.begin..all {
            self.listed.insert(walk.layout.proof_key(index));
        }
        while let Some(step) = walk.step().await? {
            match step {
                Ok(step) => {
                    self.leaf(step.index, &step.leaf, step.index + 1 == all, &mut log).await?;
                }
                Err(Fault::Altered(what)) => self.report.altered(what),
                Err(Fault::Missing(what)) => self.report.missing(what),
            }
        }
        log.records = walk.records();
        let whole = walk.size() == all;
        if !whole {
            self.report.notes.push(format!(
                "{origin}/{incarnation}: leaves {} to {all} were not looked at, because the chain is broken there",
                walk.size()
            ));
        }
        if !log.ended && whole {
            self.report.notes.push(format!(
                "{origin}/{incarnation} has no end leaf: the agent runs, or did not end in order"
            ));
        }
        // Without a key nothing would have been asked for.
        if let Some(key) = walk.signer() {
            self.checkpoint(&walk, key, whole).await?;
            self.backups(&walk, origin, key).await?;
        }
        Ok((walk, log))
    }

    /// A log that begins in its middle: an archive that was moved, or one that
    /// somebody cut. Which of the two only who moved it can say.
    fn beginning(&mut self, walk: &Walk<'_>, log: &str) {
        let begin = walk.begin;
        if begin == 0 {
            return;
        }
        let last = self.archive.name(&walk.layout.proof_key(begin - 1));
        let what = format!("{log} begins at leaf {begin}");
        if begin == self.begins_at {
            self.report.notes.push(format!("{what}, as was said (--begins-at)"));
        } else {
            self.report.missing(format!(
                "{what}: {last} and all before are missing. If the archive was moved then, the agent has said so, \
                 and --begins-at {begin} accepts it"
            ));
        }
    }

    async fn leaf(
        &mut self,
        index: u64,
        leaf: &Leaf,
        is_last: bool,
        log: &mut Log,
    ) -> Result<(), ReadError> {
        log.leaves += 1;
        log.ended = matches!(leaf.body, Body::End { .. });
        if matches!(leaf.body, Body::Gap { .. }) {
            log.gaps += 1;
        }
        let time = match &leaf.body {
            Body::Batch { time: (_, to), .. } => Some(to),
            Body::Start { time, .. }
            | Body::Gap { time, .. }
            | Body::Alive { time, .. }
            | Body::End { time, .. } => Some(time),
            Body::Key { .. } => None,
        };
        if let Some(time) = time {
            log.reaches.clone_from(time);
        }
        let Some(object) = leaf.object() else { return Ok(()) };
        self.listed.insert(object.key.clone());
        let name = self.archive.name(&object.key);
        let Some(bytes) = self.archive.bytes(&object.key).await? else {
            // A key leaf has no time: it is younger than the leaf before it.
            let made = crate::text::parse_rfc3339(&log.reaches).unwrap_or(0);
            let age = self.now.saturating_sub(made);
            if is_last && age <= self.in_flight {
                self.report
                    .notes
                    .push(format!("{name} is in flight: its leaf {index} is the newest"));
            } else {
                self.report.missing(format!("{name} is missing: leaf {index} names it"));
            }
            return Ok(());
        };
        log.objects += 1;
        log.bytes += bytes.len() as u64;
        if bytes.len() as u64 != object.len {
            self.report.altered(format!(
                "{name} has {} bytes, leaf {index} says {}",
                bytes.len(),
                object.len
            ));
            return Ok(());
        }
        if crate::text::sha256(&bytes) != object.sha256 {
            self.report
                .altered(format!("{name} is not what leaf {index} names: its SHA-256 differs"));
            return Ok(());
        }
        let opened = match leaf.body {
            _ if !self.decrypt => Ok(()),
            Body::Key { .. } => {
                let opened = KeyObject::open(&bytes, self.identities).await;
                opened.and_then(|object| object.key(leaf, index).map(drop))
            }
            _ => batch::open(&bytes, leaf, index, self.identities, |_, _| Ok(())).await,
        };
        if let Err(e) = opened {
            self.report.decrypted = Verdict::No;
            self.report.problems.push(format!("{name} does not open: {e}"));
        }
        Ok(())
    }

    /// The mutable `checkpoint`: signed, and a state that the log went through.
    async fn checkpoint(
        &mut self,
        walk: &Walk<'_>,
        key: &VerifyingKey,
        whole: bool,
    ) -> Result<(), ReadError> {
        let object = walk.layout.checkpoint_key();
        self.listed.insert(object.clone());
        let name = self.archive.name(&object);
        let Some(note) = self.archive.bytes(&object).await? else {
            self.report.missing(format!("{name} is missing"));
            return Ok(());
        };
        let origin = walk.layout.base().trim_end_matches('/');
        let named = origin.rsplit_once('/').map_or(origin, |(o, _)| o);
        match std::str::from_utf8(&note).map(|n| Checkpoint::verify(n, named, key)) {
            Err(_) => self.report.altered(format!("{name}: not text")),
            Ok(Err(e)) => self.report.altered(format!("{name}: {e}")),
            Ok(Ok(c)) if c.origin != origin => {
                self.report.altered(format!("{name}: of another log"));
            }
            Ok(Ok(c)) if c.size > walk.size() => {
                if whole {
                    let first = self.archive.name(&walk.layout.proof_key(walk.size()));
                    self.report.missing(format!(
                        "{name} signs {} leaves, {} are there: the archive was cut short, {first} is missing",
                        c.size,
                        walk.size()
                    ));
                }
            }
            Ok(Ok(c)) => {
                if walk.agrees(c.size, &c.root) != Some(true) {
                    self.report.altered(format!("{name} signs another history than the leaves"));
                }
            }
        }
        Ok(())
    }

    /// Regular copies: each a checkpoint or proof that the log went through.
    async fn backups(
        &mut self,
        walk: &Walk<'_>,
        origin: &str,
        key: &VerifyingKey,
    ) -> Result<(), ReadError> {
        let folder = walk.layout.backup_folder();
        let keys: Vec<String> =
            self.archive.keys().filter(|k| k.starts_with(&folder)).map(str::to_owned).collect();
        for object in keys {
            let name = self.archive.name(&object);
            let text = self.archive.text(&object).await?.unwrap_or_default();
            let checkpoint = if object.ends_with(".checkpoint") {
                Checkpoint::verify(&text, origin, key).ok()
            } else if object.ends_with(".tlog-proof") {
                Proof::parse(&text)
                    .ok()
                    .filter(|p| p.verify(origin, key).is_ok())
                    .map(|p| p.checkpoint)
            } else {
                continue;
            };
            self.listed.insert(object);
            match checkpoint {
                None => self.report.altered(format!("{name}: not a copy that the key signed")),
                Some(c) if walk.agrees(c.size, &c.root) == Some(false) => {
                    self.report.altered(format!("{name} signs another history than the leaves"));
                }
                Some(c) if c.size > walk.size() => self.report.missing(format!(
                    "{name} signs {} leaves, {} are there: the archive was cut short",
                    c.size,
                    walk.size()
                )),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Compares with a checkpoint from elsewhere. `false` when it is of another log.
fn expect_checkpoint(note: &str, log: &Log, walk: &Walk<'_>, report: &mut Report) -> bool {
    let name = format!("{}/{}", log.origin, log.incarnation);
    let signed = walk.signer().and_then(|key| Checkpoint::verify(note, &log.origin, key).ok());
    let Some(checkpoint) = signed.filter(|c| c.origin == name) else { return false };
    if checkpoint.size > walk.size() {
        report.fresh = Verdict::No;
        report.missing(format!(
            "the expected checkpoint signs {} leaves of {name}, {} are there: the archive was cut short",
            checkpoint.size,
            walk.size()
        ));
        return true;
    }
    match walk.agrees(checkpoint.size, &checkpoint.root) {
        Some(true) => {}
        Some(false) => {
            report.altered(format!("the expected checkpoint signs another history of {name}"));
        }
        None => {
            report.fresh = Verdict::No;
            report.problems.push(format!(
                "the expected checkpoint is from before leaf {}, with which {name} begins here",
                walk.begin
            ));
        }
    }
    true
}

fn check_age(request: &Request, report: &mut Report) {
    let Some((max_age, now)) = request.max_age else { return };
    let newest = report
        .logs
        .iter()
        .filter_map(|l| crate::text::parse_rfc3339(&l.reaches))
        .max()
        .unwrap_or(0);
    let age = now.saturating_sub(newest);
    if age > max_age {
        report.fresh = Verdict::No;
        report.problems.push(format!(
            "the newest leaf is {} s old, {} s are allowed",
            age / 1000,
            max_age / 1000
        ));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for log in &self.logs {
            writeln!(
                f,
                "{}/{}\n  {} leaves, {} records, {} objects, {} bytes, {} signed gaps, reaches {}",
                log.origin,
                log.incarnation,
                log.leaves,
                log.records,
                log.objects,
                log.bytes,
                log.gaps,
                log.reaches
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM    {problem}")?;
        }
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        let reaches = self.logs.iter().map(|l| l.reaches.as_str()).max().unwrap_or("nothing");
        let line = |v: Verdict, not_asked: &str| match v {
            Verdict::Yes => "yes".to_owned(),
            Verdict::No => "NO".to_owned(),
            Verdict::NotAsked => format!("not asked ({not_asked})"),
        };
        writeln!(f, "intact     {}", line(self.intact, ""))?;
        writeln!(f, "complete   {}", line(self.complete, ""))?;
        writeln!(
            f,
            "fresh      {}",
            line(self.fresh, &format!("the archive reaches {reaches}; --expect or --max-age asks"))
        )?;
        writeln!(f, "decrypted  {}", line(self.decrypted, "--identity asks"))
    }
}
