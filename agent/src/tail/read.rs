//! One chunk of one file: read, checked, cut, decoded, and its position told.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use memchr::memchr;

use super::file::{TailFile, read_at};
use super::identity::{BEFORE, HEAD, Identity, Meta};
use super::warn::Problem;
use super::{CHUNK, LineSink, Step, Tailer};
use crate::decode::{FormatChoice, Held, Run, STREAMS};
use crate::frame::{Frame, Frames};
use crate::line::{CutReason, Line, Span};
use crate::source::Gap;

/// From how many searched bytes on a growing line is only looked at for its
/// newline, and not read whole again.
const PROBE: usize = 4096;

/// What one look at a file came to.
#[derive(Debug, Default)]
struct Look {
    bytes: u64,
    lines: u64,
    /// There is more to read now.
    again: bool,
    /// The position is another one than before.
    moved: bool,
    /// It is the agent's own log.
    own: bool,
}

impl Tailer {
    /// Reads a file whose turn it is; `None` if it had to be passed over.
    pub(super) fn serve(
        &mut self,
        index: usize,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> Option<Step> {
        let mut file = self.files.get_mut(index)?.take()?;
        file.queued = false;
        if self.must_wait(&mut file) {
            self.put_back(index, file);
            return None;
        }
        if let Some(source) = self.options.sources.get(file.source) {
            self.shared.limits = source.limits();
        }
        let unfinished = file.searched;
        let look = match self.look(&mut file, now, sink) {
            Ok(look) => look,
            Err(_) => {
                self.warnings.say(Problem::ReadFailed, &file.info.path);
                // Those behind it must not wait for it.
                file.at_end = true;
                Look::default()
            }
        };
        if look.moved {
            self.report(&file, sink);
        }
        if look.own {
            self.own.insert(file.meta.place);
            self.warnings.say(Problem::OwnLog, &file.info.path);
        }
        let awaited = (file.at_end || look.own) && std::mem::take(&mut file.awaited);
        let serial = file.serial;
        let came = look.bytes > unfinished as u64;
        let last = file.ending && file.at_end && !look.again && !came;
        file.ending &= !came;
        if look.own || last {
            self.let_go(index, &file, sink);
        } else {
            if let Some(due) = file.deadline(self.shared.limits) {
                self.next_due = self.next_due.min(due);
                if !std::mem::replace(&mut file.timed, true) {
                    self.timed.push(index);
                }
            }
            self.put_back(index, file);
            if look.again {
                self.queue(index);
            }
        }
        if awaited {
            self.queue_after((index, serial));
        }
        Some(Step::Read { bytes: look.bytes, lines: look.lines })
    }

    /// Whether its predecessor under the same path has to be read first.
    fn must_wait(&mut self, file: &mut TailFile) -> bool {
        let Some((before, serial)) = file.after else {
            return false;
        };
        let first = self.files.get_mut(before).and_then(Option::as_deref_mut);
        let Some(first) = first.filter(|f| f.serial == serial) else {
            file.after = None;
            return false;
        };
        let size = first.handle.metadata().map_or(0, |m| m.len());
        // One that was rotated while empty hands on what it never took.
        if first.rotated && size == 0 && first.after.is_some() {
            file.inherits &= first.inherits;
            file.after = first.after;
            return self.must_wait(file);
        }
        if first.at_end && size <= first.meta.size {
            return false;
        }
        first.at_end = false;
        first.awaited = true;
        self.queue(before);
        true
    }

    /// Queues the files that waited for this one's end.
    fn queue_after(&mut self, first: (usize, u64)) {
        for index in 0..self.files.len() {
            if self.file(index).is_some_and(|f| f.after == Some(first)) {
                self.queue(index);
            }
        }
    }

    /// The last of a file: it is forgotten and closed.
    fn let_go(&mut self, index: usize, file: &TailFile, sink: &mut dyn LineSink) {
        if file.identity.is_some() {
            sink.forget(file.info.id);
        }
        // What comes in its successor may be the rest of a line that was cut.
        let heirs = self.files.iter_mut().flatten();
        for heir in heirs.filter(|f| f.inherits && f.after == Some((index, file.serial))) {
            for stream in STREAMS.into_iter().filter(|s| file.decoder.is_cut(*s)) {
                heir.decoder.set_cut(stream);
            }
        }
        if self.by_place.get(&file.meta.place) == Some(&index) {
            self.by_place.remove(&file.meta.place);
        }
        for path in [&file.info.path, &file.info.resolved] {
            if self.by_path.get(path) == Some(&index) {
                self.by_path.remove(path);
            }
        }
        self.free.push(index);
    }

    /// Reads one chunk.
    fn look(
        &mut self,
        file: &mut TailFile,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> io::Result<Look> {
        let mut look = Look::default();
        let meta = Meta::from(&file.handle.metadata()?);
        let known_size = file.meta.size;
        if meta.size < file.read_to {
            look.lines += self.begin_new_life(file, known_size, "truncated", now, sink);
            file.meta = meta;
            look.again = true;
            return Ok(look);
        }
        file.meta = meta;
        if meta.size < file.read_to + file.searched as u64 {
            file.searched = 0;
        }
        if !file.replay.is_empty() {
            look.lines += self.replay(file, now, sink)?;
            look.moved = true;
        }

        let rest_due = file
            .waiting_since
            .is_some_and(|since| since + self.shared.limits.partial_wait <= now && file.at_end);
        let let_out = rest_due || file.flush || file.ending;
        let mut want = CHUNK;
        if file.searched >= PROBE && !let_out {
            match self.probe(file, now)? {
                Some(newline_within) => want = want.max(newline_within),
                None => {
                    look.again = !file.at_end;
                    self.flush_held(file, now, sink, &mut look);
                    return Ok(look);
                }
            }
        }
        want = want.max(file.searched + if let_out { CHUNK } else { 1 });

        // The bytes before the offset come along in the same read.
        let overlap = usize::from(file.before_len);
        if self.buffer.len() < overlap + want {
            self.buffer.resize(BEFORE + want, 0);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.read_chunk(file, &mut buffer, overlap, want, let_out, now, sink, &mut look);
        self.buffer = buffer;
        if let Err(e) = read {
            return if e.kind() == io::ErrorKind::InvalidData {
                look.lines += self.begin_new_life(file, known_size, "overwritten", now, sink);
                look.again = true;
                look.moved = false;
                Ok(look)
            } else {
                Err(e)
            };
        }
        Ok(look)
    }

    /// Looks for the newline of a line that grows, without reading it all again:
    /// how many bytes from `read_to` on are worth reading; `None` if it is not
    /// there yet.
    fn probe(&mut self, file: &mut TailFile, now: Duration) -> io::Result<Option<usize>> {
        let part = self.buffer.get_mut(..CHUNK).unwrap_or_default();
        let n = read_at(&file.handle, part, file.read_to + file.searched as u64)?;
        file.at_end = n < CHUNK;
        if n == 0 {
            return Ok(None);
        }
        file.waiting_since = Some(now);
        let newline = memchr(b'\n', part.get(..n).unwrap_or_default());
        if newline.is_none() && file.searched + n <= self.shared.limits.line {
            file.searched += n;
            return Ok(None);
        }
        Ok(Some(file.searched + newline.map_or(n, |at| at + 1)))
    }

    /// Reads and goes through one chunk. `InvalidData`: the bytes before the
    /// offset are not what they were.
    #[expect(clippy::too_many_arguments, reason = "one step of look(), cut out for its length")]
    fn read_chunk(
        &mut self,
        file: &mut TailFile,
        buffer: &mut [u8],
        overlap: usize,
        want: usize,
        let_out: bool,
        now: Duration,
        sink: &mut dyn LineSink,
        look: &mut Look,
    ) -> io::Result<()> {
        let target = buffer.get_mut(..overlap + want).unwrap_or_default();
        let n = read_at(&file.handle, target, file.read_to - overlap as u64)?;
        let got = target.get(..n).unwrap_or_default();
        let Some((before, data)) = got.split_at_checked(overlap) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if overlap > 0 && self.digester.before(before) != file.before {
            return Err(io::ErrorKind::InvalidData.into());
        }
        file.at_end = n < overlap + want;
        if file.identity.is_none() {
            if !self.identify(file, data, let_out, look)? {
                if data.len() > file.searched {
                    file.waiting_since = Some(now);
                    file.searched = data.len();
                }
                file.flush = false;
                return Ok(());
            }
            look.moved = true;
        }
        if !data.is_empty() {
            self.inherit(file, sink);
        }

        let limit = self.shared.limits.line;
        let mut frames = Frames::new(data, file.searched, limit);
        let mut taken = 0;
        let stopped = Cell::new(false);
        let TailFile { info, decoder, read_to, .. } = &mut *file;
        let mut out = |line: &Line<'_>| {
            look.lines += 1;
            let flow = sink.line(info, line);
            stopped.set(stopped.get() | flow.is_break());
            flow
        };
        let mut run = Run { shared: &mut self.shared, now, out: &mut out };
        for frame in frames.by_ref() {
            let start = *read_to + taken as u64;
            let span = Span { start, end: start + frame.taken() as u64 };
            match frame {
                Frame::Line(text) => decoder.line(text, span, None, &mut run),
                Frame::Piece(text) => decoder.piece(text, span, CutReason::OverLong, &mut run),
            }
            taken += frame.taken();
            if stopped.get() {
                break;
            }
        }
        let stopped = stopped.get();
        let mut rest = frames.rest();
        let grew = taken > 0 || rest.len() > file.searched;
        if stopped {
            file.at_end = false;
            rest = &[];
        } else if file.at_end
            && !rest.is_empty()
            && (file.flush || file.ending || (let_out && !grew))
        {
            let reason = if file.ending { CutReason::FileEnded } else { CutReason::TimedOut };
            let start = file.read_to + taken as u64;
            let span = Span { start, end: start + rest.len() as u64 };
            let TailFile { info, decoder, .. } = &mut *file;
            let mut out = |line: &Line<'_>| {
                look.lines += 1;
                sink.line(info, line)
            };
            let mut run = Run { shared: &mut self.shared, now, out: &mut out };
            decoder.piece(rest, span, reason, &mut run);
            taken += rest.len();
            rest = &[];
        }

        if taken > 0 {
            let end = got.get(..overlap + taken).unwrap_or_default();
            let before = end.get(end.len().saturating_sub(BEFORE)..).unwrap_or_default();
            file.before = self.digester.before(before);
            file.before_len = before.len() as u16;
            file.read_to += taken as u64;
            file.searched = 0;
            file.waiting_since = None;
            file.ended = false;
            file.info.format = file.decoder.format.format();
            look.bytes += taken as u64;
            look.moved = true;
        }
        if rest.is_empty() {
            file.searched = 0;
            file.waiting_since = None;
        } else if rest.len() > file.searched || file.waiting_since.is_none() {
            file.searched = rest.len();
            file.waiting_since = Some(now);
        }
        look.again = stopped || !file.at_end;
        if !look.again {
            self.flush_held(file, now, sink, look);
        }
        Ok(())
    }

    /// At the end of a file: lets out what has waited long enough, or all.
    fn flush_held(
        &mut self,
        file: &mut TailFile,
        now: Duration,
        sink: &mut dyn LineSink,
        look: &mut Look,
    ) {
        if !file.at_end {
            return;
        }
        let all = if file.ending {
            Some(CutReason::FileEnded)
        } else {
            std::mem::take(&mut file.flush).then_some(CutReason::TimedOut)
        };
        if let Some(why) = all {
            let lines = self.let_go_of_held(file, why, now, sink);
            look.lines += lines;
            look.moved |= lines > 0;
            return;
        }
        if file.decoder.deadline(self.shared.limits).is_none_or(|at| at > now) {
            return;
        }
        let TailFile { info, decoder, .. } = file;
        let mut out = |line: &Line<'_>| {
            look.lines += 1;
            sink.line(info, line)
        };
        look.moved |= decoder.flush_due(&mut Run { shared: &mut self.shared, now, out: &mut out });
    }

    /// Lets out all that a file holds: how many lines that was.
    pub(super) fn let_go_of_held(
        &mut self,
        file: &mut TailFile,
        why: CutReason,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> u64 {
        let mut lines = 0;
        let TailFile { info, decoder, .. } = file;
        let mut out = |line: &Line<'_>| {
            lines += 1;
            sink.line(info, line)
        };
        decoder.flush(why, &mut Run { shared: &mut self.shared, now, out: &mut out });
        lines
    }

    /// The file was emptied or written anew: what it was is over.
    ///
    /// `known_size`: how long it was when last seen. More than was read of that
    /// is lost; what was written and cut between two looks nobody can know.
    pub(super) fn begin_new_life(
        &mut self,
        file: &mut TailFile,
        known_size: u64,
        why: &'static str,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> u64 {
        let lines = self.let_go_of_held(file, CutReason::FileEnded, now, sink);
        if file.identity.is_some() {
            let from = file.replay.iter().filter(|h| h.file.is_none()).map(|h| h.start);
            let from = from.fold(file.read_to, u64::min);
            if known_size > from {
                let gap = Gap { file: Some(file.info.id), from, to: None, why };
                sink.gap(Some(&file.info), &gap);
            }
            for held in file.replay.iter().filter(|h| h.file.is_some()) {
                let (from, to) = (held.start, Some(held.end()));
                sink.gap(None, &Gap { file: held.file, from, to, why: "held-file-gone" });
            }
            sink.forget(file.info.id);
        }
        // Who copies and truncates does so in the middle of a line, too.
        let cut = STREAMS.map(|stream| file.decoder.is_cut(stream));
        file.begin_again(self.format_choice(file.source));
        for (stream, _) in STREAMS.into_iter().zip(cut).filter(|(_, cut)| *cut) {
            file.decoder.set_cut(stream);
        }
        lines
    }

    /// Finds out who the file is, from its head: whether that is known now.
    fn identify(
        &mut self,
        file: &mut TailFile,
        data: &[u8],
        let_out: bool,
        look: &mut Look,
    ) -> io::Result<bool> {
        let mut bytes = [0; HEAD];
        let head = if file.read_to == 0 {
            data.get(..data.len().min(HEAD)).unwrap_or_default()
        } else {
            let n = read_at(&file.handle, &mut bytes, 0)?;
            bytes.get(..n).unwrap_or_default()
        };
        let line = memchr(b'\n', head).map(|at| at + 1);
        let enough = line.is_some() || head.len() == HEAD || (let_out && file.at_end);
        if !enough || head.is_empty() {
            return Ok(false);
        }
        if self.options.own_marker.as_deref().is_some_and(|m| holds(head, m)) {
            look.own = true;
            return Ok(false);
        }
        let head = head.get(..line.unwrap_or(head.len())).unwrap_or_default();
        let digest = self.digester.head(head);
        let life = match file.former {
            Some(former) if former.head == digest && former.may_be_born(file.meta.created) => {
                former.life + 1
            }
            _ => 0,
        };
        let identity = Identity {
            place: file.meta.place,
            created: file.meta.created,
            head_len: head.len() as u16,
            head: digest,
            life,
        };
        file.info.id = self.digester.id(&identity);
        file.identity = Some(identity);
        Ok(true)
    }

    /// Takes over the lines that began in the file that this one succeeded.
    fn inherit(&mut self, file: &mut TailFile, sink: &mut dyn LineSink) {
        let Some((index, serial)) = file.after.take() else {
            return;
        };
        if !file.inherits {
            return;
        }
        let Some(mut first) = self.files.get_mut(index).and_then(Option::take) else {
            return;
        };
        if first.serial == serial && first.replay.is_empty() && first.decoder.is_joining() {
            first.decoder.hand_over(first.info.id, &mut file.decoder);
            self.report(&first, sink);
        }
        self.put_back(index, first);
    }

    /// Reads the held ranges of a stored position into the joiners again.
    fn replay(
        &mut self,
        file: &mut TailFile,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> io::Result<u64> {
        let mut held = std::mem::take(&mut file.replay);
        // First what other files lent, in the order in which it was taken; offsets
        // order the file's own ranges alone.
        held.sort_by_key(|h| h.file.is_none().then_some(h.start));
        // What was decided then is decided; no line counts twice.
        let format = file.decoder.format;
        let cut = file.decoder.cut.take();
        file.decoder.format = match format.format() {
            Some(format) => FormatChoice::fixed(format),
            None => format,
        };
        let mut lines = 0;
        for range in held {
            lines += self.replay_range(file, range, now, sink)?;
        }
        file.decoder.format = format;
        file.decoder.cut = cut;
        Ok(lines)
    }

    fn replay_range(
        &mut self,
        file: &mut TailFile,
        range: Held,
        now: Duration,
        sink: &mut dyn LineSink,
    ) -> io::Result<u64> {
        let lender = range.file.map(|id| {
            let lender = self.files.iter().flatten().find(|f| f.info.id == id);
            lender.and_then(|f| f.handle.try_clone().ok())
        });
        let mut at = range.start;
        let mut lines = 0;
        while at < range.end() {
            let want = CHUNK.max(self.shared.limits.line + 1);
            let want = usize::try_from(range.end() - at).unwrap_or(want).min(want);
            if self.buffer.len() < want {
                self.buffer.resize(want + BEFORE, 0);
            }
            let buffer = self.buffer.get_mut(..want).unwrap_or_default();
            let n = match &lender {
                None => read_at(&file.handle, buffer, at)?,
                Some(Some(lender)) => read_at(lender, buffer, at)?,
                Some(None) => 0,
            };
            let chunk = self.buffer.get(..n).unwrap_or_default();
            let TailFile { info, decoder, .. } = &mut *file;
            let mut out = |line: &Line<'_>| {
                lines += 1;
                sink.line(info, line)
            };
            let frames = Frames::new(chunk, 0, self.shared.limits.line);
            let mut run = Run { shared: &mut self.shared, now, out: &mut out };
            let mut taken = 0;
            for frame in frames {
                let start = at + taken as u64;
                let span = Span { start, end: start + frame.taken() as u64 };
                decoder.line(frame.text(), span, range.file, &mut run);
                taken += frame.taken();
            }
            if taken == 0 {
                let why = "held-file-gone";
                let id = range.file.unwrap_or(info.id);
                let gap = Gap { file: Some(id), from: at, to: Some(range.end()), why };
                sink.gap(range.file.is_none().then_some(&*info), &gap);
                break;
            }
            at += taken as u64;
        }
        Ok(lines)
    }
}

/// Whether the text holds the marker, as it is or inside a JSON string.
fn holds(text: &[u8], marker: &str) -> bool {
    let find = |needle: &str| memchr::memmem::find(text, needle.as_bytes()).is_some();
    find(marker) || find(&marker.replace('\\', "\\\\").replace('"', "\\\""))
}
