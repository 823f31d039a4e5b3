//! Gateway logs made by rule: the same seed gives the same bytes on every machine.
//!
//! Two kinds. [`perf_log`] is the benchmark's input: a Docker json-file log of 60 % webhook
//! bodies, 30 % access lines with a number and a bearer token in the URL, 10 % core lines, about
//! 437 bytes a line; [`reference_output`] is the same log with numbers and tokens masked and
//! everything else kept. [`crash_log`] is the crash tests' input: parts of stdout and stderr lines
//! in turn, each event with a serial number that survives redaction.
//!
//! Standard library only, so that tests and benchmark can take it in with `#[path]`.

use std::fmt::Write as _;
use std::io::{self, Write};

/// What [`perf_log`] and [`reference_output`] wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerfCounts {
    /// Lines, each one Docker record.
    pub(crate) lines: u64,
    /// Bytes written, newlines included.
    pub(crate) bytes: u64,
    /// Phone numbers in clear digits; the ones inside message ids do not count.
    pub(crate) phones: u64,
    /// Bearer tokens in URLs.
    pub(crate) tokens: u64,
}

/// Writes `lines` lines of the benchmark's input.
///
/// # Errors
/// Those of `out`.
pub(crate) fn perf_log(lines: u64, seed: u64, out: &mut impl Write) -> io::Result<PerfCounts> {
    perf(lines, seed, false, out)
}

/// Writes what [`perf_log`] writes for the same `lines` and `seed`, but with each number as
/// `1555****67` and each token as `****`: what the floor compresses, encrypts and hashes.
///
/// # Errors
/// Those of `out`.
pub(crate) fn reference_output(
    lines: u64,
    seed: u64,
    out: &mut impl Write,
) -> io::Result<PerfCounts> {
    perf(lines, seed, true, out)
}

/// One event that a run over a [`crash_log`] must deliver exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Which logical line it stands in, counted from 0 in the order in which lines begin.
    pub(crate) line: u64,
    /// Its serial number, unique in the log; [`serial_of`] finds it in a record.
    pub(crate) serial: u64,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'static str,
}

/// Writes `lines` logical lines as Docker records, with the parts of both streams interleaved.
///
/// About a third of the lines come in two to four parts, one in two thousand is longer than
/// 16 KiB; a fifth are webhooks with one or two statuses. Returned is what must come out, in the
/// order in which the lines end in the file, which is the order of delivery.
///
/// # Errors
/// Those of `out`.
pub(crate) fn crash_log(lines: u64, seed: u64, out: &mut impl Write) -> io::Result<Vec<Expected>> {
    let mut rng = Rng::new(seed);
    let mut clock = Clock::default();
    let mut pending: [Option<Pending>; 2] = [None, None];
    let mut expected = Vec::new();
    let (mut begun, mut serial) = (0, 0);
    let mut record = String::new();
    while begun < lines || pending.iter().any(Option::is_some) {
        let which = usize::from(rng.chance(400));
        let Some(slot) = pending.get_mut(which) else { continue };
        if slot.is_none() {
            if begun == lines {
                continue;
            }
            *slot = Some(Pending::new(begun, &mut serial, &mut rng));
            begun += 1;
        }
        let Some(line) = slot.as_mut() else { continue };
        let stream = if which == 0 { "stdout" } else { "stderr" };
        let (part, last) = line.next_part();
        record.clear();
        record.push_str("{\"log\":\"");
        escape_into(&mut record, part);
        record.push_str(if last { "\\n" } else { "" });
        let time = clock.tick(&mut rng);
        let _ = writeln!(record, "\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}");
        out.write_all(record.as_bytes())?;
        if last {
            let line = line.line;
            let serials = slot.take().map(|p| p.serials).unwrap_or_default();
            expected.extend(serials.map(|serial| Expected { line, serial, stream }));
        }
    }
    Ok(expected)
}

/// The serial number in a record that came out, if it is one of a [`crash_log`].
///
/// It stands in the text of core lines (`serial 000123`) and in the timestamp of statuses
/// (`"timestamp":"1700000123"`): both are kept by every policy.
pub(crate) fn serial_of(record: &str) -> Option<u64> {
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse::<u64>().ok())
    };
    let after = |mark: &str| record.find(mark).and_then(|at| record.get(at + mark.len()..));
    if let Some(serial) = after("serial ").and_then(digits) {
        return Some(serial);
    }
    after("\"timestamp\":\"").and_then(digits)?.checked_sub(SERIAL_EPOCH)
}

/// What serial 0 is as a status' timestamp, in seconds.
const SERIAL_EPOCH: u64 = 1_700_000_000;

/// A logical line whose parts are not all written yet.
struct Pending {
    line: u64,
    text: String,
    /// Where the next part begins.
    at: usize,
    /// Ends of the parts, rising; the last is the text's length.
    cuts: Vec<usize>,
    serials: std::ops::Range<u64>,
}

impl Pending {
    fn new(line: u64, serial: &mut u64, rng: &mut Rng) -> Self {
        let first = *serial;
        let mut text = String::with_capacity(256);
        if rng.chance(200) {
            *serial += 1 + u64::from(rng.chance(300));
            status_webhook(&mut text, first..*serial, rng);
        } else {
            *serial += 1;
            crash_core_line(&mut text, first, rng);
        }
        let mut cuts = Vec::new();
        if text.len() > PART {
            cuts.extend((1..=text.len() / PART).map(|n| n * PART));
        } else if rng.chance(330) {
            let parts = rng.below(3) + 1;
            cuts.extend((0..parts).map(|_| 1 + rng.index(text.len() - 1)));
            cuts.sort_unstable();
        }
        cuts.push(text.len());
        cuts.dedup();
        cuts.reverse();
        Self { line, text, at: 0, cuts, serials: first..*serial }
    }

    /// The next part, and whether it is the last.
    fn next_part(&mut self) -> (&str, bool) {
        let end = self.cuts.pop().unwrap_or(self.text.len());
        let part = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        (part, self.cuts.is_empty())
    }
}

/// Docker's longest part, in bytes.
const PART: usize = 16_384;

fn crash_core_line(text: &mut String, serial: u64, rng: &mut Rng) {
    let phone = Phone::random(rng);
    let _ = write!(
        text,
        "I 2026-11-22 10:{:02}:{:02}.{:03} UTC {} chatmanager.cpp:1204] Message to {phone} \
         acknowledged, serial {serial:06} ",
        rng.below(60),
        rng.below(60),
        rng.below(1000),
        15 + rng.below(40),
    );
    let long = rng.below(2000) == 0;
    let words = if long { PART + rng.index(PART) } else { 20 + rng.index(120) };
    words_into(text, words, rng);
    text.push_str(" req_id=Main");
}

fn status_webhook(text: &mut String, serials: std::ops::Range<u64>, rng: &mut Rng) {
    text.push_str(WEBHOOK_HEAD);
    text.push_str("104455667788990");
    text.push_str(WEBHOOK_META);
    text.push_str("15550100199\",\"phone_number_id\":\"109876500123456\"},\"statuses\":[");
    let first = serials.start;
    for serial in serials {
        let phone = Phone::random(rng);
        if serial != first {
            text.push(',');
        }
        text.push_str("{\"id\":\"");
        wamid_into(text, phone, rng);
        let _ = write!(
            text,
            "\",\"status\":\"{}\",\"timestamp\":\"{}\",\"recipient_id\":\"{phone}\"}}",
            STATUSES[rng.index(STATUSES.len())],
            SERIAL_EPOCH + serial,
        );
    }
    text.push_str(WEBHOOK_TAIL);
}

const WEBHOOK_HEAD: &str = "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"";
const WEBHOOK_META: &str = "\",\"changes\":[{\"value\":{\"metadata\":{\"display_phone_number\":\"";
const WEBHOOK_TAIL: &str = "]},\"field\":\"messages\"}]}]}";
const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

fn perf(lines: u64, seed: u64, masked: bool, out: &mut impl Write) -> io::Result<PerfCounts> {
    let mut rng = Rng::new(seed);
    let mut clock = Clock::default();
    let mut line = PerfLine { text: String::with_capacity(1024), masked, phones: 0, tokens: 0 };
    let mut counts = PerfCounts { lines, ..PerfCounts::default() };
    let mut record = String::with_capacity(2048);
    for _ in 0..lines {
        line.text.clear();
        let stream = match rng.below(1000) {
            0..600 => line.webhook(&mut rng),
            600..900 => line.access(&mut rng),
            _ => line.core(&mut rng),
        };
        record.clear();
        record.push_str("{\"log\":\"");
        escape_into(&mut record, &line.text);
        let time = clock.tick(&mut rng);
        let _ = writeln!(record, "\\n\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}");
        counts.bytes += record.len() as u64;
        out.write_all(record.as_bytes())?;
    }
    counts.phones = line.phones;
    counts.tokens = line.tokens;
    Ok(counts)
}

/// The text of one line of the benchmark's input, in clear or masked.
///
/// Both variants draw the same random numbers in the same order, so they stay in step.
struct PerfLine {
    text: String,
    masked: bool,
    phones: u64,
    tokens: u64,
}

impl PerfLine {
    /// A message (552 in a thousand) or a status, so that a log has as many numbers as the
    /// measured one: 1.83 a line.
    fn webhook(&mut self, rng: &mut Rng) -> &'static str {
        let phone = Phone::random(rng);
        let now = 1_795_341_481 + rng.below(86_400);
        let mut business = Rng::new(rng.below(4096));
        let _ = write!(self.text, "{WEBHOOK_HEAD}{}{WEBHOOK_META}", business.graph_id());
        self.phone(Phone::random(&mut business));
        let _ = write!(self.text, "\",\"phone_number_id\":\"{}\"}},", business.graph_id());
        if rng.chance(552) {
            self.text.push_str("\"contacts\":[{\"profile\":{\"name\":\"");
            let length = 7 + rng.index(10);
            words_into(&mut self.text, length, rng);
            self.text.push_str("\"},\"wa_id\":\"");
            self.phone(phone);
            self.text.push_str("\"}],\"messages\":[{\"from\":\"");
            self.phone(phone);
            self.text.push_str("\",\"id\":\"");
            wamid_into(&mut self.text, phone, rng);
            let _ = write!(self.text, "\",\"timestamp\":\"{now}\",\"text\":{{\"body\":\"");
            let length = 8 + rng.index(54);
            words_into(&mut self.text, length, rng);
            self.text.push_str("\"},\"type\":\"text\"}");
        } else {
            self.text.push_str("\"statuses\":[{\"id\":\"");
            wamid_into(&mut self.text, phone, rng);
            let status = STATUSES[rng.index(STATUSES.len())];
            let _ = write!(
                self.text,
                "\",\"status\":\"{status}\",\"timestamp\":\"{now}\",\"recipient_id\":\""
            );
            self.phone(phone);
            self.text.push_str("\"}");
        }
        self.text.push_str(WEBHOOK_TAIL);
        "stdout"
    }

    fn access(&mut self, rng: &mut Rng) -> &'static str {
        let day = rng.below(86_400);
        let _ = write!(
            self.text,
            "10.42.{}.{} - - [22/Nov/2026:{:02}:{:02}:{:02} +0000] \"GET /v1/contacts/",
            rng.below(4),
            2 + rng.below(250),
            day / 3600,
            day / 60 % 60,
            day % 60,
        );
        self.phone(Phone::random(rng));
        self.text.push_str("/identity?access_token=");
        self.token(rng);
        let _ = write!(
            self.text,
            "&v=2 HTTP/1.1\" {} {} \"-\" \"-\"",
            [200, 200, 200, 404, 503][rng.index(5)],
            64 + rng.below(4000),
        );
        "stdout"
    }

    fn core(&mut self, rng: &mut Rng) -> &'static str {
        let day = rng.below(86_400);
        let _ = write!(
            self.text,
            "D 2026-11-22 {:02}:{:02}:{:02}.{:03} UTC {} servicemetrics.cpp:335] \
             \"{{db_request_duration_us_count,[configStore,write={}],[configStore,read={}]}}\" \
             req_id=Main",
            day / 3600,
            day / 60 % 60,
            day % 60,
            rng.below(1000),
            15 + rng.below(40),
            rng.below(1000),
            rng.below(1000),
        );
        if rng.chance(100) { "stderr" } else { "stdout" }
    }

    fn phone(&mut self, phone: Phone) {
        self.phones += 1;
        let from = self.text.len();
        let _ = write!(self.text, "{phone}");
        if self.masked {
            let end = self.text.len() - 2;
            self.text.replace_range(from + 4..end, "****");
        }
    }

    fn token(&mut self, rng: &mut Rng) {
        self.tokens += 1;
        let from = self.text.len();
        self.text.push_str("EAAG");
        let mut bits = 0;
        for n in 0..92_u32 {
            if n % 10 == 0 {
                bits = rng.next();
            }
            self.text.push(ALPHABET[(bits & 63) as usize % 62] as char);
            bits >>= 6;
        }
        if self.masked {
            self.text.replace_range(from.., "****");
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SYLLABLES: [&str; 64] = [
    "am", "ber", "bra", "cken", "cob", "ble", "dap", "ple", "em", "fa", "thom", "gor", "se", "ha",
    "zel", "in", "kwe", "ju", "ni", "per", "kel", "li", "chen", "mar", "row", "net", "tle", "or",
    "chard", "pew", "ter", "qua", "ry", "ru", "shes", "sor", "rel", "this", "um", "vel", "vet",
    "wil", "low", "yar", "ro", "mi", "ka", "so", "da", "lu", "ven", "tor", "bis", "gan", "hol",
    "pix", "zu", "fen", "jo", "cly", "wer", "nop", "eth", "ury",
];

/// Invented words of one to three syllables and spaces, `length` bytes or a little less; one word
/// at least.
fn words_into(text: &mut String, length: usize, rng: &mut Rng) {
    let end = text.len() + length;
    loop {
        for _ in 0..=rng.below(3) {
            text.push_str(SYLLABLES[rng.index(SYLLABLES.len())]);
        }
        if text.len() + 10 >= end {
            return;
        }
        text.push(' ');
    }
}

/// A message id as the Cloud API makes it: the number stands in it in clear digits, in base64.
fn wamid_into(text: &mut String, phone: Phone, rng: &mut Rng) {
    let digits = phone.to_string();
    let mut bytes = vec![0x1c, 0x18, digits.len() as u8];
    bytes.extend(digits.as_bytes());
    bytes.extend([0x15, 2, 0, 0x12, 0x18, 20]);
    let tail = (u128::from(rng.next()) << 64) | u128::from(rng.next());
    bytes.extend(format!("{tail:032X}").bytes().take(20));
    bytes.push(0);
    text.push_str("wamid.");
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let six = (word >> (18 - 6 * n)) & 63;
            text.push(if n > chunk.len() { '=' } else { ALPHABET[six as usize] as char });
        }
    }
}

/// A phone number of eleven or twelve digits that libphonenumber's rules hold possible.
#[derive(Clone, Copy)]
struct Phone(u64);

impl Phone {
    fn random(rng: &mut Rng) -> Self {
        const AREAS: [u64; 16] =
            [202, 205, 212, 213, 303, 305, 310, 312, 404, 415, 503, 512, 602, 617, 702, 713];
        match rng.below(20) {
            0..14 => {
                let area = AREAS[rng.index(AREAS.len())];
                Self(10_000_000_000 + area * 10_000_000 + 5_550_000 + rng.below(10_000))
            }
            14..17 => Self(491_713_900_000 * 10 + rng.below(1_000_000)),
            _ => Self(919_876_000_000 + rng.below(1_000_000)),
        }
    }
}

impl std::fmt::Display for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Escapes as Docker's (Go's) encoder does for the ASCII that is made here.
fn escape_into(record: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\', '&', '<', '>']) {
        let (plain, special) = rest.split_at(at);
        record.push_str(plain);
        record.push_str(match special.as_bytes().first() {
            Some(b'"') => "\\\"",
            Some(b'\\') => "\\\\",
            Some(b'&') => "\\u0026",
            Some(b'<') => "\\u003c",
            _ => "\\u003e",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    record.push_str(rest);
}

/// The engine's clock: it never goes back.
#[derive(Default)]
struct Clock {
    nanos: u64,
}

impl Clock {
    fn tick(&mut self, rng: &mut Rng) -> String {
        self.nanos += 1_000 + rng.below(20_000_000);
        let seconds = self.nanos / 1_000_000_000;
        format!(
            "2026-11-22T{:02}:{:02}:{:02}.{:09}Z",
            10 + seconds / 3600 % 14,
            seconds / 60 % 60,
            seconds % 60,
            self.nanos % 1_000_000_000
        )
    }
}

/// SplitMix64: small, good enough, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index below `bound`.
    fn index(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// An id as the Graph API gives them: fifteen digits.
    fn graph_id(&mut self) -> u64 {
        100_000_000_000_000 + self.below(900_000_000_000_000)
    }

    /// True `in_thousand` times of a thousand.
    fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The `log` and `stream` values of a record, unescaped.
    fn record(line: &str) -> (String, &str) {
        let rest = line.strip_prefix("{\"log\":\"").unwrap();
        let (log, rest) = rest.split_once("\",\"stream\":\"").unwrap();
        let log = log
            .replace("\\n", "\n")
            .replace("\\u0026", "&")
            .replace("\\\"", "\"")
            .replace("\\\\", "\\");
        (log, rest.split_once('"').unwrap().0)
    }

    #[test]
    fn same_seed_same_bytes() {
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        perf_log(500, 7, &mut a).unwrap();
        perf_log(500, 7, &mut b).unwrap();
        perf_log(500, 8, &mut c).unwrap();
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn the_mix_is_the_measured_one() {
        let mut log = Vec::new();
        let counts = perf_log(20_000, 1, &mut log).unwrap();
        assert_eq!(counts.bytes, log.len() as u64);
        let text = String::from_utf8(log).unwrap();
        assert_eq!(text.lines().count(), 20_000);
        let share = |mark: &str| text.lines().filter(|l| l.contains(mark)).count() * 100 / 20_000;
        assert!((59..=61).contains(&share("whatsapp_business_account")));
        assert!((29..=31).contains(&share("access_token=")));
        assert!((9..=11).contains(&share("servicemetrics.cpp")));
        let mean = counts.bytes / counts.lines;
        assert!((430..=445).contains(&mean), "{mean} bytes a line");
        let phones = counts.phones * 1000 / counts.lines;
        assert!((1810..=1850).contains(&phones), "{phones} numbers in a thousand lines");
        let tokens = counts.tokens * 1000 / counts.lines;
        assert!((290..=310).contains(&tokens), "{tokens} tokens in a thousand lines");
    }

    #[test]
    fn the_reference_differs_in_numbers_and_tokens_alone() {
        let (mut log, mut reference) = (Vec::new(), Vec::new());
        let counts = perf_log(2_000, 3, &mut log).unwrap();
        let masked = reference_output(2_000, 3, &mut reference).unwrap();
        assert_eq!((counts.phones, counts.tokens), (masked.phones, masked.tokens));
        let log = String::from_utf8(log).unwrap();
        let reference = String::from_utf8(reference).unwrap();
        assert_eq!(reference.matches("****").count() as u64, counts.phones + counts.tokens);
        assert!(!reference.contains("EAAG"));
        for (clear, masked) in log.lines().zip(reference.lines()) {
            let mut rest = clear;
            for piece in masked.split("****") {
                let at = rest.find(piece).unwrap_or_else(|| panic!("{masked} is not of {clear}"));
                rest = &rest[at + piece.len()..];
            }
        }
    }

    #[test]
    fn a_message_id_holds_its_number() {
        let mut text = String::new();
        wamid_into(&mut text, Phone(16_505_551_234), &mut Rng::new(1));
        assert!(text.starts_with("wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQ"), "{text}");
        assert!(text.len().is_multiple_of(2));
    }

    #[test]
    fn crash_log_joined_by_stream_gives_what_is_expected() {
        let mut log = Vec::new();
        let expected = crash_log(6_000, 11, &mut log).unwrap();
        let text = String::from_utf8(log).unwrap();
        let mut open: BTreeMap<&str, String> = BTreeMap::new();
        let (mut found, mut parts, mut interleaved, mut long) = (Vec::new(), 0, 0, 0);
        for line in text.lines() {
            let (log, stream) = record(line);
            assert!(log.len() <= PART, "a part of {} bytes", log.len());
            let others = open.iter().filter(|(of, text)| **of != stream && !text.is_empty());
            interleaved += others.count();
            let held = open.entry(stream).or_default();
            held.push_str(&log);
            if !log.ends_with('\n') {
                parts += 1;
                continue;
            }
            long += usize::from(held.len() > PART);
            let mut rest = held.as_str();
            if rest.starts_with('{') {
                while let Some(at) = rest.find("\"timestamp\":\"") {
                    found.push((serial_of(&rest[at..]).unwrap(), stream));
                    rest = &rest[at + 13..];
                }
            } else {
                found.push((serial_of(rest).unwrap(), stream));
            }
            held.clear();
        }
        let wanted: Vec<_> = expected.iter().map(|e| (e.serial, e.stream)).collect();
        assert_eq!(found, wanted);
        let unique: BTreeSet<_> = expected.iter().map(|e| e.serial).collect();
        assert_eq!(unique.len(), expected.len());
        assert_eq!(unique.last().copied(), Some(expected.len() as u64 - 1));
        assert_eq!(expected.iter().map(|e| e.line).collect::<BTreeSet<_>>().len(), 6_000);
        assert!(parts > 2_000 && interleaved > 1_000 && long > 0, "{parts} {interleaved} {long}");
    }

    #[test]
    fn a_serial_is_found_in_a_record() {
        assert_eq!(serial_of("{\"seq\":9,\"text\":\"x, serial 000123 amber\"}"), Some(123));
        assert_eq!(serial_of("{\"status\":\"sent\",\"timestamp\":\"1700004567\"}"), Some(4567));
        assert_eq!(serial_of("{\"event\":\"agent_start\"}"), None);
    }
}
