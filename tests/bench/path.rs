//! The benchmark: `cargo bench`. What each stage costs alone, what the whole
//! path costs, and the ratio of that to a floor measured in the same run.
//!
//! All figures are CPU time of one run on one machine: compare ratios, not
//! seconds. `SEALTAIL_BENCH_LINES` says how many lines (250,000; a million is
//! the 450 MB log of the backlog test). The input is made by rule and is a
//! Docker json-file log: 60 % webhook bodies, 30 % access lines with numbers and
//! bearer tokens, 10 % core lines.
//!
//! The floor: read the input, find its newlines, and gzip (level 6), encrypt and
//! hash a reference output, in which numbers and tokens are masked and all else
//! is kept. Less than that nobody can do who ships such records compressed and
//! encrypted at that level.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../support/loggen.rs"]
#[expect(dead_code, unused_imports, reason = "the crash tests use the other half")]
mod loggen;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use sealtail::disk::{RealDisk, SharedDisk};
use sealtail::frame::Frames;
use sealtail::journal::{Journal, JournalKey, Kind, Options as JournalOptions};
use sealtail::line::{Cut, Line, Span, Stream};
use sealtail::redact::{Policy, Profile, Redacted, Redactor};
use sealtail::sealer::datakey::{LocalKeys, Supply};
use sealtail::sealer::outbox::Outbox;
use sealtail::sealer::{Codec, Options as SealOptions, Sealer, Step as SealStep};
use sealtail::source::{FileId, Gap, SourceTag};
use sealtail::tail::{FileInfo, LineSink, Source, Step, SystemClock, TailOptions, Tailer};
use sealtail_seal::keys::SigningKey;
use sealtail_seal::message::Recipient;
use sha2::Digest as _;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SEED: u64 = 11;
const CHUNK: usize = 256 * 1024;
/// So many bytes of lines are kept in memory for the stages behind the tail.
const SAMPLE: usize = 64 << 20;

fn main() {
    let lines: u64 =
        std::env::var("SEALTAIL_BENCH_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(250_000);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway-json.log");
    let reference = folder.path().join("reference");
    let made =
        loggen::perf_log(lines, SEED, &mut BufWriter::new(File::create(&log).unwrap())).unwrap();
    loggen::reference_output(lines, SEED, &mut BufWriter::new(File::create(&reference).unwrap()))
        .unwrap();
    println!(
        "input: {} lines, {:.1} MB, {} phone numbers, {} tokens\n",
        made.lines,
        mb(made.bytes),
        made.phones,
        made.tokens
    );

    println!("floor, one core{:>32}", "MB/s of input    CPU s");
    let floor = floor(&log, &reference, made.bytes);
    row("the floor", made.bytes, floor);

    println!("\nstages alone, one core");
    stages(folder.path(), &log, made.bytes);

    println!("\nthe whole path (sealtail run --once into a directory, fsynced)");
    println!("{:<26}{:>9}{:>9}{:>10}{:>9}{:>9}", "", "MB/s", "CPU s", "ratio", "wall s", "peak MB");
    for (profile, codec) in
        [("mask-only", "gzip"), ("mask-only", "zstd"), ("strict", "gzip"), ("strict", "zstd")]
    {
        let whole = whole(folder.path(), &log, profile, codec);
        println!(
            "{:<26}{:>9.0}{:>9.2}{:>9.2}x{:>9.2}{:>9.1}",
            format!("{profile}, {codec}"),
            mb(made.bytes) / whole.cpu,
            whole.cpu,
            whole.cpu / floor.as_secs_f64(),
            whole.wall,
            whole.peak
        );
    }
    println!("\nratio: CPU of the whole path to CPU of the floor.");
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn row(name: &str, bytes: u64, cpu: Duration) {
    println!("  {name:<32}{:>10.0}{:>10.3}", mb(bytes) / cpu.as_secs_f64(), cpu.as_secs_f64());
}

/// CPU time that `work` took in this thread and those that it waited for.
fn cpu<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(t.tv_sec.try_into().unwrap(), t.tv_nsec.try_into().unwrap())
    };
    let before = now();
    let done = work();
    (done, now() - before)
}

fn chunks(path: &Path, mut each: impl FnMut(&[u8])) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = file.read(&mut buffer).unwrap();
        if n == 0 {
            return;
        }
        each(&buffer[..n]);
    }
}

fn floor(log: &Path, reference: &Path, bytes: u64) -> Duration {
    let (newlines, read) = cpu(|| {
        let mut newlines = 0;
        chunks(log, |chunk| newlines += memchr::memchr_iter(b'\n', chunk).count());
        newlines
    });
    assert!(newlines > 0);
    row("read + memchr", bytes, read);
    let (packed, gzip) = cpu(|| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        chunks(reference, |chunk| gzip.write_all(chunk).unwrap());
        gzip.finish().unwrap()
    });
    row("gzip 6 of the reference", bytes, gzip);
    let (_, seal) = cpu(|| {
        let cipher = aes_gcm::Aes256Gcm::new(&[7; 32].into());
        let mut hash = sha2::Sha256::new();
        // What is encrypted and hashed is the output as it stands, uncompressed.
        chunks(reference, |chunk| {
            let sealed = cipher.encrypt(&[0; 12].into(), chunk).unwrap();
            hash.update(&sealed);
        });
        hash.finalize()
    });
    row("AES-256-GCM + SHA-256 of it", bytes, seal);
    println!("  (the reference compresses {:.2} : 1)", bytes as f64 / packed.len() as f64);
    read + gzip + seal
}

/// Takes lines and forgets them, or keeps the first of them.
#[derive(Default)]
struct Keep {
    lines: Vec<Vec<u8>>,
    bytes: usize,
    wanted: usize,
    all: u64,
}

impl LineSink for Keep {
    fn line(&mut self, _: &FileInfo, line: &Line<'_>) -> ControlFlow<()> {
        self.all += 1;
        if self.bytes < self.wanted {
            self.bytes += line.text.len();
            self.lines.push(line.text.to_vec());
        }
        ControlFlow::Continue(())
    }
    fn position(&mut self, _: FileId, _: usize, _: &[u8]) {}
    fn forget(&mut self, _: FileId) {}
    fn gap(&mut self, _: Option<&FileInfo>, gap: &Gap) {
        unreachable!("{gap:?}")
    }
}

fn tail(log: &Path, keep: &mut Keep) {
    let include = vec![log.to_str().unwrap().to_owned()];
    let sources = vec![Source { include, ..Source::default() }];
    let options = TailOptions { sources, watch: false, ..TailOptions::default() };
    let clock = Box::new(SystemClock::start());
    let mut tailer = Tailer::new(options, &[1; 32], std::iter::empty(), clock).unwrap();
    while matches!(tailer.step(keep), Step::Read { .. }) || !tailer.drained() {}
}

fn stages(folder: &Path, log: &Path, bytes: u64) {
    let mut text = Vec::new();
    File::open(log).unwrap().take(SAMPLE as u64).read_to_end(&mut text).unwrap();
    let (frames, framing) =
        cpu(|| text.chunks(CHUNK).map(|c| Frames::new(c, 0, 1 << 20).count()).sum::<usize>());
    assert!(frames > 0);
    row("frame", text.len() as u64, framing);
    drop(text);

    let ((), tailing) = cpu(|| tail(log, &mut Keep::default()));
    row("tail + frame + decode", bytes, tailing);

    let mut keep = Keep { wanted: SAMPLE, ..Keep::default() };
    tail(log, &mut keep);
    let mut records = Vec::new();
    for profile in [Profile::MaskOnly, Profile::Strict] {
        let policy = Policy { profile, include_payload: profile == Profile::MaskOnly, mask: true };
        let mut redactor = Redactor::new(policy, &[2; 32]);
        let tag =
            SourceTag { file: FileId([3; 16]), path_json: "/var/log/gateway-json.log".into() };
        let mut out = Redacted::new();
        let run = |redactor: &mut Redactor,
                   out: &mut Redacted,
                   records: Option<&mut Vec<Vec<u8>>>| {
            let mut kept = Vec::new();
            for text in &keep.lines {
                let span = Span { start: 0, end: text.len() as u64 };
                let line =
                    Line { text, stream: Stream::Stdout, time: None, span, cut: Cut::default() };
                out.clear();
                redactor.line(&tag, &line, out);
                if records.is_some() {
                    kept.extend(out.records().map(|r| r.body().to_vec()));
                }
            }
            if let Some(records) = records {
                *records = kept;
            }
        };
        let ((), time) = cpu(|| run(&mut redactor, &mut out, None));
        row(&format!("classify + redact, {profile:?}"), keep.bytes as u64, time);
        if profile == Profile::MaskOnly {
            run(&mut redactor, &mut out, Some(&mut records));
        }
    }
    drop(keep);

    let of_records: u64 = records.iter().map(|r| r.len() as u64).sum();
    let disk: SharedDisk = Arc::new(RealDisk);
    let path = folder.join("journal");
    std::fs::create_dir(&path).unwrap();
    let options =
        JournalOptions { path: path.clone(), max_bytes: 4 << 30, segment_bytes: 64 << 20 };
    let key = JournalKey::new([4; 32]);
    let mut journal = Journal::open(Arc::clone(&disk), options, &key, "bench", 0).unwrap();
    let ((), time) = cpu(|| {
        for record in &records {
            journal.append(Kind::Line, record);
            if journal.pending_bytes() >= 1 << 20 {
                journal.commit(1).unwrap();
            }
        }
        journal.commit(1).unwrap();
    });
    row("journal (of redacted bytes)", of_records, time);
    drop(records);

    for (name, codec) in [("gzip", Codec::Gzip(6)), ("zstd", Codec::Zstd(1))] {
        let outbox = Outbox::open(
            Arc::clone(&disk),
            folder.join(format!("outbox-{name}")),
            journal.handle(),
        );
        let (signing_key, _) = SigningKey::generate().map(|k| (k, ())).unwrap();
        let options = SealOptions {
            max_bytes: 16 << 20,
            max_records: 1_000_000,
            max_age_ms: u64::MAX,
            codec,
            heartbeat_ms: u64::MAX,
            outbox_bytes: u64::MAX,
            keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("bench", [5; 32])]))),
            signing_key,
            config_hash: [0; 32],
            waivers: Default::default(),
        };
        let id = journal.id().clone();
        let mut sealer =
            Sealer::open(options, id, Arc::new(outbox.unwrap()), journal.handle(), 1).unwrap();
        let ((), time) = cpu(|| {
            while matches!(sealer.step(2).unwrap(), SealStep::Worked) {}
            sealer.flush(2).unwrap();
        });
        row(&format!("journal read + seal, {name}"), of_records, time);
    }
}

struct Whole {
    cpu: f64,
    wall: f64,
    peak: f64,
}

/// Runs the program as a user would; it says itself what it used.
fn whole(folder: &Path, log: &Path, profile: &str, codec: &str) -> Whole {
    let root = folder.join(format!("{profile}-{codec}"));
    let program = env!("CARGO_BIN_EXE_sealtail");
    let keys = root.join("keys");
    assert!(Command::new(program).arg("keygen").arg(&keys).output().unwrap().status.success());
    let (here, keys) = (root.display(), keys.display());
    let payload = profile == "mask-only";
    let config = root.join("sealtail.yaml");
    std::fs::write(
        &config,
        format!(
            "origin: bench\nsources: [{{type: file, include: ['{}']}}]\n\
             redact: {{profile: {profile}, include_payload: {payload}, token_key: {{file: '{keys}/token.key'}}}}\n\
             journal: {{path: '{here}/journal', max_bytes: 1GiB, key: {{file: '{keys}/journal.key'}}}}\n\
             seal: {{signing_key: {{file: '{keys}/signing.key'}}, recipients: [{{rsa: '{keys}/archive.pub.pem'}}], codec: {codec}}}\n\
             sinks: [{{name: archive, type: archive, url: 'file://{here}/archive'}}]\n\
             log: {{level: warn, format: human}}\n",
            log.display()
        ),
    )
    .unwrap();
    let began = Instant::now();
    let out = Command::new(program).args(["run", "--once", "-c"]).arg(&config).output().unwrap();
    let wall = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    let used = said.lines().find_map(|l| l.trim().strip_prefix("used ")).unwrap();
    let numbers: Vec<f64> = used.split(' ').filter_map(|w| w.parse().ok()).collect();
    std::fs::remove_dir_all(root).unwrap();
    Whole { cpu: numbers[0], wall, peak: numbers[1] }
}
