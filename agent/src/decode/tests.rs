use super::*;

const LIMITS: Limits = Limits {
    line: 64,
    partial_wait: Duration::from_secs(5),
    gather_wait: Duration::from_secs(1),
    gather: true,
};

/// A decoder, what came out, and the time.
struct Bench {
    decoder: Decoder,
    shared: Shared,
    now: Duration,
    at: u64,
    got: Vec<(String, Stream, Cut)>,
}

impl Bench {
    fn new(format: FormatChoice) -> Self {
        Self {
            decoder: Decoder::new(format),
            shared: Shared::new(LIMITS),
            now: Duration::ZERO,
            at: 0,
            got: Vec::new(),
        }
    }

    fn run(&mut self, act: impl FnOnce(&mut Decoder, &mut Run)) {
        let got = &mut self.got;
        let mut out = |line: &Line<'_>| {
            got.push((String::from_utf8_lossy(line.text).into_owned(), line.stream, line.cut));
            ControlFlow::Continue(())
        };
        let mut run = Run { shared: &mut self.shared, now: self.now, out: &mut out };
        act(&mut self.decoder, &mut run);
    }

    fn feed(&mut self, lines: &[&str]) -> &mut Self {
        for line in lines {
            let span = Span { start: self.at, end: self.at + line.len() as u64 + 1 };
            self.at = span.end;
            self.run(|d, run| d.line(line.as_bytes(), span, None, run));
        }
        self
    }

    fn due(&mut self, now: Duration) -> bool {
        self.now = now;
        let mut any = false;
        self.run(|d, run| any = d.flush_due(run));
        any
    }

    fn texts(&self) -> Vec<&str> {
        self.got.iter().map(|(text, ..)| text.as_str()).collect()
    }
}

fn docker(log: &str, stream: &str) -> String {
    serde_json::json!({"log": log, "stream": stream, "time": "2026-01-01T00:00:00Z"}).to_string()
}

#[test]
fn the_format_is_decided_by_the_first_lines() {
    for (lines, format) in [
        (vec![docker("x\n", "stdout")], Format::Docker),
        (vec![String::new(), "2026-01-01T00:00:00Z stdout F x".to_owned()], Format::Cri),
        (vec![r#"{"event":"x"}"#.to_owned()], Format::Json),
        (vec!["hello".to_owned()], Format::Text),
        // A file that begins inside a record is still found out.
        (vec![r#"ut","time":"t"}"#.to_owned(), docker("x\n", "stdout")], Format::Docker),
    ] {
        let mut bench = Bench::new(FormatChoice::auto());
        for line in &lines {
            bench.feed(&[line]);
        }
        assert_eq!(bench.decoder.format.format(), Some(format), "{lines:?}");
        assert_eq!(bench.got.len(), lines.len(), "no line is lost while deciding");
    }
}

#[test]
fn parts_are_joined_each_to_its_own_stream() {
    let mut bench = Bench::new(FormatChoice::auto());
    bench.feed(&[
        "2026-01-01T00:00:00Z stdout P one ",
        "2026-01-01T00:00:00Z stderr P other ",
        "2026-01-01T00:00:00Z stdout P two ",
        "not of the form",
        "2026-01-01T00:00:00Z stderr F stream",
        "2026-01-01T00:00:00Z stdout F three\r",
        "2026-01-01T00:00:00Z stdout F ",
    ]);
    let streams: Vec<_> = bench.got.iter().map(|(_, stream, _)| *stream).collect();
    assert_eq!(bench.texts(), ["not of the form", "other stream", "one two three", ""]);
    assert_eq!(streams, [Stream::None, Stream::Stderr, Stream::Stdout, Stream::Stdout]);
    assert!(bench.got.iter().all(|(.., cut)| !cut.is_cut()));
    assert!(!bench.decoder.is_holding());
    assert_eq!(bench.shared.held, 0);
}

#[test]
fn a_docker_part_of_exactly_16384_bytes_ends_with_a_lone_newline() {
    let mut bench = Bench::new(FormatChoice::auto());
    bench.shared.limits.line = 1 << 20;
    let long = "x".repeat(16384);
    bench.feed(&[&docker(&long, "stdout"), &docker("\n", "stdout"), &docker("next\n", "stdout")]);
    assert_eq!(bench.texts(), [long.as_str(), "next"]);
    assert!(bench.got.iter().all(|(.., cut)| !cut.is_cut()));
}

#[test]
fn a_line_that_is_too_long_comes_in_marked_pieces() {
    let mut bench = Bench::new(FormatChoice::auto());
    let part = "y".repeat(40);
    for _ in 0..3 {
        bench.feed(&[&docker(&part, "stdout")]);
    }
    bench.feed(&[&docker("end\n", "stdout"), &docker("new\n", "stdout")]);
    let cut = |before, after: Option<CutReason>| Cut { before, after };
    let cuts: Vec<_> = bench.got.iter().map(|(.., cut)| *cut).collect();
    assert_eq!(
        cuts,
        [
            cut(false, Some(CutReason::OverLong)),
            cut(true, Some(CutReason::OverLong)),
            cut(true, None),
            Cut::default()
        ]
    );
    let whole: String = bench.texts()[..3].concat();
    assert_eq!(whole, format!("{}end", part.repeat(3)));
}

#[test]
fn a_partial_line_waits_five_seconds_and_its_rest_is_marked() {
    let mut bench = Bench::new(FormatChoice::auto());
    bench.feed(&["2026-01-01T00:00:00Z stdout P half"]);
    assert_eq!(bench.decoder.deadline(LIMITS), Some(Duration::from_secs(5)));
    assert!(!bench.due(Duration::from_millis(4999)));
    assert!(bench.due(Duration::from_secs(5)));
    bench.feed(&["2026-01-01T00:00:00Z stdout F rest", "2026-01-01T00:00:00Z stdout F new"]);
    assert_eq!(bench.texts(), ["half", "rest", "new"]);
    assert_eq!(bench.got[0].2, Cut { before: false, after: Some(CutReason::TimedOut) });
    assert_eq!(bench.got[1].2, Cut { before: true, after: None });
    assert!(!bench.got[2].2.is_cut());
}

#[test]
fn ranges_are_merged_and_bounded() {
    let mut bench = Bench::new(FormatChoice::fixed(Format::Cri));
    bench.feed(&["2026-01-01T00:00:00Z stdout P a", "2026-01-01T00:00:00Z stdout P b"]);
    let held: Vec<_> = bench.decoder.held().copied().collect();
    assert_eq!(held, [Held { file: None, start: 0, len: bench.at, stream: Stream::Stdout }]);
    bench.shared.limits.line = 1 << 20;
    for _ in 0..1000 {
        bench.feed(&["2026-01-01T00:00:00Z stderr F x", "2026-01-01T00:00:00Z stdout P c"]);
        assert!(bench.decoder.held().count() <= MAX_RANGES);
    }
    let total: usize =
        bench.got.iter().filter(|(_, s, _)| *s == Stream::Stdout).map(|(t, ..)| t.len()).sum();
    assert_eq!(total + bench.decoder.held_bytes(), 1002);
}

#[test]
fn a_statement_is_one_line() {
    let mut bench = Bench::new(FormatChoice::fixed(Format::Text));
    let statement = [
        "2026-01-02 03:04:05.678 UTC [77] ERROR:  deadlock detected",
        "2026-01-02 03:04:05.678 UTC [77] DETAIL:  Process 77 waits for ShareLock.",
        "\tProcess 78: UPDATE t SET a = 1",
        "",
        "2026-01-02 03:04:05.678 UTC [77] HINT:  See server log for query details.",
    ];
    bench.feed(&statement);
    assert!(bench.got.is_empty() && bench.decoder.is_holding());
    bench.feed(&[
        "2026-01-02 03:04:05.700 UTC [78] LOG:  other",
        "2026-01-02 03:04:05.700 UTC [79] DETAIL:  of nobody",
        "plain",
    ]);
    let whole = statement.join("\n");
    assert_eq!(bench.texts()[0], whole);
    assert_eq!(bench.got.len(), 4);
    // The last one of a quiet file comes after a second.
    bench.feed(&[statement[0]]);
    assert!(!bench.due(Duration::from_millis(999)));
    assert!(bench.due(Duration::from_secs(1)));
    assert_eq!(bench.texts().last(), Some(&statement[0]));
    assert_eq!(bench.shared.held, 0);
}

#[test]
fn a_statement_is_bounded() {
    let mut bench = Bench::new(FormatChoice::fixed(Format::Text));
    bench.feed(&["2026-01-02 03:04:05.678 UTC [77] LOG:  long"]);
    for _ in 0..200 {
        bench.feed(&["\tmore"]);
    }
    bench.run(|d, run| d.flush(CutReason::FileEnded, run));
    let lines: usize = bench.texts().iter().map(|t| t.split('\n').count()).sum();
    assert_eq!(lines, 201);
    assert_eq!(bench.texts()[0].split('\n').count(), 64);
}

#[test]
fn feeding_the_held_ranges_again_gives_the_same_lines() {
    let raw: Vec<String> = vec![
        docker("aaa ", "stdout"),
        docker("2026-01-02 03:04:05.678 UTC [77] ERROR:  x\n", "stderr"),
        docker("bbb ", "stdout"),
        docker("\ty\n", "stderr"),
        docker("2026-01-02 03:04:05.678 UTC [77] HINT:  ", "stderr"),
        docker("ccc\n", "stdout"),
        docker("z\n", "stderr"),
        docker("end\n", "stderr"),
    ];
    let lines: Vec<&str> = raw.iter().map(String::as_str).collect();
    let mut whole = Bench::new(FormatChoice::auto());
    whole.feed(&lines);
    for stop in 0..lines.len() {
        let mut first = Bench::new(FormatChoice::auto());
        first.feed(&lines[..stop]);
        let mut held: Vec<Held> = first.decoder.held().copied().collect();
        held.sort_by_key(|h| h.start);
        let mut second = Bench::new(first.decoder.format);
        second.got = first.got;
        let mut at = 0;
        for line in &lines[..stop] {
            let span = Span { start: at, end: at + line.len() as u64 + 1 };
            at = span.end;
            if held.iter().any(|h| h.start <= span.start && span.end <= h.end()) {
                second.run(|d, run| d.line(line.as_bytes(), span, None, run));
            }
        }
        second.at = at;
        second.feed(&lines[stop..]);
        assert_eq!(second.got, whole.got, "stopped at {stop}");
    }
}

#[test]
fn a_cut_raw_line_keeps_its_stream() {
    let mut bench = Bench::new(FormatChoice::fixed(Format::Cri));
    let span = Span { start: 0, end: 9 };
    bench.run(|d, run| {
        d.piece(b"2026-01-01T00:00:00Z stderr P begins", span, CutReason::OverLong, run);
        d.piece(b" goes on", span, CutReason::OverLong, run);
        d.line(b" ends", span, None, run);
    });
    bench.feed(&["2026-01-01T00:00:00Z stderr F here", "2026-01-01T00:00:00Z stderr F new"]);
    assert_eq!(bench.texts(), ["begins", " goes on", " ends", "here", "new"]);
    assert!(bench.got.iter().all(|(_, stream, _)| *stream == Stream::Stderr));
    let before: Vec<_> = bench.got.iter().map(|(.., cut)| cut.before).collect();
    assert_eq!(before, [false, true, true, true, false]);
}

#[test]
fn garbage_goes_through_whole() {
    let mut bench = Bench::new(FormatChoice::auto());
    bench.feed(&["\u{0}\u{1}{{{", r#"{"log":"#, "]]]\t\"", "2026-01-01T00:00:00Z stdout X"]);
    assert_eq!(bench.got.len(), 4);
    assert!(bench.got.iter().all(|(.., cut)| !cut.is_cut()));
}
