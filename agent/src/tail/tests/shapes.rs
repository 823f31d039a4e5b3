//! Odd files, odd lines, odd directories.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn lines_as_they_come() {
    let mut world = World::new();
    world.append("app.log", "one\r\n\n\r\n\rtwo\n\x00\x01\n");
    world.scan();
    assert_eq!(world.texts(), ["one", "", "", "\rtwo", "\0\u{1}"]);
    let starts: Vec<_> = world.journal.now.lines.iter().map(|l| l.start).collect();
    assert_eq!(starts, [0, 5, 6, 8, 13]);
}

#[test]
fn binary_garbage_goes_through_and_harms_nobody() {
    let mut world = World::new();
    let mut seed = 0x1234_5678_u32;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(300_000)
    .collect();
    world.append("bad.log", &garbage);
    world.append("good.log", "fine\n");
    world.scan();
    let newlines = garbage.iter().filter(|b| **b == b'\n').count();
    assert_eq!(world.texts().len(), newlines + 1);
    assert!(world.texts().contains(&"fine"));
}

#[test]
fn beats_44780_a_short_file_without_a_newline_is_read_when_it_has_waited() {
    let mut world = World::new();
    world.append("app.log", "short");
    world.scan();
    world.pass(4000);
    assert!(world.texts().is_empty());
    world.pass(1100);
    assert_eq!(world.texts(), ["short"]);
    assert_eq!(world.journal.now.lines[0].cut.after, Some(CutReason::TimedOut));
    // While it grows, it does not count as waiting.
    world.append("app.log", "er\nx");
    world.pass(4000);
    world.append("app.log", "y");
    world.pass(4000);
    world.append("app.log", "z\n");
    world.pass(1000);
    assert_eq!(world.texts(), ["short", "er", "xyz"]);
}

#[test]
fn a_once_run_takes_unfinished_lines_along() {
    let mut world = World::new();
    world.append("a.log", "one\ntwo");
    world.append("b.log", docker("part", "stdout"));
    world.append("empty.log", "");
    world.scan();
    assert!(world.tailer.drained());
    assert_eq!(world.texts(), ["one"]);
    world.tailer.flush_partials();
    assert!(!world.tailer.drained());
    world.settle();
    assert!(world.tailer.drained());
    assert_eq!(world.texts(), ["one", "two", "part"]);
}

#[test]
fn a_long_line_streams_through_in_bounded_memory() {
    let mut world = World::with(|o| o.sources[0].max_line = 1 << 20);
    let mut file = fs::File::create(world.path("long.log")).unwrap();
    let megabyte = "0123456789abcde\u{1}".repeat(1 << 16);
    for _ in 0..20 {
        file.write_all(megabyte.as_bytes()).unwrap();
    }
    file.write_all(b"end\nshort\n").unwrap();
    world.clock.0.fetch_add(1000, Ordering::SeqCst);
    let mut steps = 0;
    while let Step::Read { .. } = world.tailer.step(&mut world.journal) {
        steps += 1;
    }
    let lines = &world.journal.now.lines;
    assert_eq!(lines.len(), 22);
    assert!(lines[..20].iter().all(|l| l.text == megabyte));
    assert!(lines[..20].iter().all(|l| l.cut.after == Some(CutReason::OverLong)));
    assert_eq!((lines[20].text.as_str(), lines[20].cut.before), ("end", true));
    assert_eq!((lines[21].text.as_str(), lines[21].cut), ("short", Cut::default()));
    assert!(world.tailer.buffer.len() <= (1 << 20) + 2 * CHUNK + BEFORE);
    assert!(steps < 200, "{steps} steps: every byte is read about twice, not more");
}

#[test]
fn fluent_bit_9903_a_line_that_grows_slowly_is_not_read_again_and_again() {
    let mut world = World::new();
    world.append("app.log", "first\n");
    world.scan();
    for _ in 0..60 {
        world.append("app.log", "x".repeat(10_000));
        world.pass(1000);
    }
    assert_eq!(world.texts(), ["first"]);
    // Nothing to do for it between two writes.
    assert!(matches!(world.tailer.step(&mut world.journal), Step::Idle { .. }));
    world.append("app.log", "\nlast\n");
    world.scan();
    assert_eq!(world.texts()[1].len(), 600_000);
    assert_eq!(world.texts()[2], "last");
    assert!(!world.journal.now.lines[1].cut.is_cut());
}

#[test]
fn one_file_under_many_names_is_read_once() {
    let mut world = World::new();
    world.append("app.log", "a\n");
    symlink(world.path("app.log"), world.path("link.log")).unwrap();
    fs::hard_link(world.path("app.log"), world.path("hard.log")).unwrap();
    world.scan().scan();
    world.append("app.log", "b\n");
    world.scan();
    assert_eq!(world.texts(), ["a", "b"]);
    assert_eq!(world.tailer.status().files, 1);
}

#[test]
fn symlinks_are_followed_and_bad_ones_warned_of_once() {
    let mut world = World::new();
    fs::create_dir(world.path("pods")).unwrap();
    world.append("pods/0.txt", "from the pod\n");
    symlink(world.path("pods/0.txt"), world.path("web.log")).unwrap();
    symlink(world.path("nowhere"), world.path("dangling.log")).unwrap();
    symlink(world.path("loop.log"), world.path("loop.log")).unwrap();
    world.scan().scan().scan();
    assert_eq!(world.texts(), ["from the pod"]);
    let mut warnings = world.warnings();
    warnings.sort_by_key(|(_, name)| name.clone());
    let want = [
        (Problem::Dangling, "dangling.log".to_owned()),
        (Problem::SymlinkLoop, "loop.log".to_owned()),
    ];
    assert_eq!(warnings, want);
    // The target comes.
    world.append("nowhere", "mounted\n");
    world.scan();
    assert_eq!(world.texts(), ["from the pod", "mounted"]);
}

#[test]
fn a_symlinked_directory_that_leads_back_is_walked_once() {
    let mut world = World::of(&["**/*.log"]);
    fs::create_dir_all(world.path("a/b")).unwrap();
    symlink(world.path("a"), world.path("a/b/back")).unwrap();
    world.append("a/b/x.log", "x\n");
    world.scan().scan();
    assert_eq!(world.texts(), ["x"]);
}

#[test]
fn directories_that_appear_later_and_excluded_names() {
    let mut world = World::with(|o| {
        o.sources[0].include[0] = o.sources[0].include[0].replace("*.log", "*/*.log*");
        o.sources[0].exclude = vec!["*.gz".to_owned()];
    });
    world.scan();
    fs::create_dir(world.path("late")).unwrap();
    world.append("late/app.log", "here\n");
    world.append("late/app.log.1.gz", "\x1f\x08\n");
    world.scan();
    assert_eq!(world.texts(), ["here"]);
}

#[test]
fn special_files_are_left_alone() {
    let mut world = World::new();
    fs::create_dir(world.path("dir.log")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket.log")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(world.path("fifo.log")).status();
    assert!(made.is_ok());
    world.append("app.log", "a\n");
    world.scan().scan();
    assert_eq!(world.texts(), ["a"]);
    assert_eq!(world.warnings(), []);
}

#[test]
fn an_unreadable_file_is_warned_of_once_and_read_when_it_may_be() {
    if rustix::process::geteuid().is_root() {
        return; // root reads everything
    }
    let mut world = World::new();
    world.append("app.log", "a\n");
    let set = |mode| fs::set_permissions(world.path("app.log"), PermissionsExt::from_mode(mode));
    set(0o000).unwrap();
    let path = world.path("app.log");
    world.scan().scan();
    assert_eq!(world.warnings(), [(Problem::Unreadable, "app.log".to_owned())]);
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    world.scan();
    assert_eq!(world.texts(), ["a"]);
}

#[test]
fn start_at_end_skips_what_is_there_and_nothing_that_comes() {
    let mut world = World::with(|o| o.sources[0].start_at = StartAt::End);
    world.append("old.log", "old\nunfinished");
    world.append("empty.log", "");
    world.scan();
    world.append("old.log", " line\nnew\n");
    world.append("empty.log", "first\n");
    world.append("later.log", "all\nof it\n");
    world.scan();
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, [" line", "all", "first", "new", "of it"]);
    world.append("while-down.log", "read too\n");
    world.kill().scan();
    assert_eq!(world.texts().last(), Some(&"read too"));
    assert_eq!(world.texts().len(), 6);
}

#[test]
fn the_agents_own_log_is_never_tailed() {
    let mut world = World::with(|o| o.own_marker = Some(r#""agent":"sealtail""#.to_owned()));
    let own = r#"{"agent":"sealtail","message":"hello"}"#;
    world.append("own.log", format!("{own}\n"));
    world.append("framed.log", docker(&format!("{own}\n"), "stderr"));
    world.append("app.log", "a\n");
    world.scan();
    world.append("own.log", format!("{own}\n"));
    world.scan().scan();
    assert_eq!(world.texts(), ["a"]);
    let mut warnings = world.warnings();
    warnings.sort_by_key(|(_, name)| name.clone());
    let want = [(Problem::OwnLog, "framed.log".into()), (Problem::OwnLog, "own.log".into())];
    assert_eq!(warnings, want);

    let mut world = World::new();
    world.append("own.log", "mine\n");
    let meta = fs::metadata(world.path("own.log")).unwrap();
    use std::os::unix::fs::MetadataExt;
    world.options.own = vec![(meta.dev(), meta.ino())];
    world.kill().scan();
    assert!(world.texts().is_empty());
}

#[test]
fn a_noisy_file_does_not_starve_the_others() {
    let mut world = World::new();
    world.append("noisy.log", "noise noise noise\n".repeat(200_000));
    world.append("quiet.log", "hear me\n");
    world.clock.0.fetch_add(1000, Ordering::SeqCst);
    for _ in 0..2 {
        world.tailer.step(&mut world.journal);
    }
    assert!(world.texts().contains(&"hear me"));
    world.settle();
    assert_eq!(world.texts().len(), 200_001);
}

#[test]
fn joiners_together_stay_within_their_bound() {
    let mut world = World::with(|o| o.max_held = 1000);
    for file in 0..10 {
        world.append(&format!("{file}.log"), cri("stdout", "P", &"x".repeat(300)));
    }
    world.scan();
    assert!(world.tailer.status().held_bytes <= 1000);
    for file in 0..10 {
        world.append(&format!("{file}.log"), cri("stdout", "F", "y"));
    }
    world.scan();
    let all: usize = world.texts().iter().map(|t| t.len()).sum();
    assert_eq!(all, 10 * 301);
}

#[test]
fn events_and_wakers_end_a_wait() {
    let mut world = World::new();
    world.options.watch = true;
    world.tailer = Tailer::new(
        world.options.clone(),
        &[7; 32],
        std::iter::empty(),
        Box::new(world.clock.clone()),
    )
    .unwrap();
    world.append("app.log", "a\n");
    world.scan();
    let waker = world.tailer.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    world.tailer.wait(Duration::from_secs(600));
    // The clock stands still, so only the event can tell of the new line.
    world.append("app.log", "b\n");
    while world.texts().len() < 2 {
        world.tailer.wait(Duration::from_secs(600));
        world.settle();
    }
    assert_eq!(world.texts(), ["a", "b"]);
}

#[test]
fn lag_is_what_is_there_and_not_read() {
    let mut world = World::new();
    world.journal.block = Some(1);
    world.append("app.log", "one\ntwo\n");
    world.clock.0.fetch_add(1000, Ordering::SeqCst);
    world.tailer.step(&mut world.journal);
    assert_eq!(world.tailer.status().lag_bytes, 4);
    world.settle();
    assert_eq!(world.tailer.status().lag_bytes, 0);
}
