//! Kill and go on: the same lines, no more and no fewer.

use super::*;

/// Interleaved parts of two streams, statements, a long line, odd lines.
fn interleaved() -> String {
    let mut log = String::new();
    for i in 0..12 {
        log += &docker(&format!("out {i} "), "stdout");
        log += &docker(&format!("err {i} "), "stderr");
        if i % 3 == 0 {
            log += "no docker line\r\n";
        }
        log += &docker("2026-01-02 03:04:05.678 UTC [77] ERROR:  x\n", "stdout");
        log += &docker("more\n", "stderr");
        log += &docker("\tof the statement\n", "stdout");
        log += &docker("2026-01-02 03:04:05.678 UTC [77] HINT:  ", "stdout");
        log += &docker("none\n", "stdout");
        log += &docker("end\n", "stdout");
        if i % 4 == 0 {
            for part in 0..5 {
                log += &docker(&format!("{part}{}", "y".repeat(30)), "stderr");
            }
            log += &docker("\n", "stderr");
        }
    }
    log
}

fn same(got: &[Got], want: &[Got]) {
    let texts = |lines: &[Got]| {
        lines.iter().map(|l| (l.text.clone(), l.stream, l.cut, l.start)).collect::<Vec<_>>()
    };
    assert_eq!(texts(got), texts(want));
}

#[test]
fn killed_after_every_single_line_the_lines_are_the_same() {
    let log = interleaved();
    let setup = || {
        let world = World::with(|o| o.sources[0].max_line = 100);
        world.append("app.log", &log);
        world
    };
    let mut whole = setup();
    whole.scan().pass(10_000);
    let want = whole.journal.now.lines.clone();
    assert!(want.len() > 40);
    for block in 1..8 {
        let mut world = setup();
        world.journal.block = Some(block);
        for _ in 0..1000 {
            // One block, committed, then killed in the middle of the next one.
            world.clock.0.fetch_add(1000, Ordering::SeqCst);
            let done = matches!(world.tailer.step(&mut world.journal), Step::Idle { .. });
            world.journal.durable = world.journal.now.clone();
            world.journal.in_block = 0;
            world.tailer.step(&mut world.journal);
            world.journal.in_block = 0;
            world.kill();
            if done || world.journal.now.lines.len() >= want.len() {
                break;
            }
        }
        world.pass(10_000).pass(10_000);
        same(&world.journal.now.lines, &want);
        assert!(world.gaps().is_empty());
    }
}

#[test]
fn cut_off_at_every_byte_and_killed_the_lines_are_the_same() {
    let log = docker("a ", "stdout")
        + &docker("b ", "stderr")
        + &docker("c é\u{1f600}\n", "stdout")
        + "plain\n\n"
        + &docker("d\n", "stderr");
    let mut whole = World::new();
    whole.append("app.log", &log);
    whole.scan();
    for cut in 0..log.len() {
        let mut world = World::new();
        world.append("app.log", &log.as_bytes()[..cut]);
        world.scan();
        world.kill();
        world.append("app.log", &log.as_bytes()[cut..]);
        world.scan();
        same(&world.journal.now.lines, &whole.journal.now.lines);
    }
}

#[test]
fn renamed_while_stopped() {
    let mut world = World::of(&["app.log"]);
    world.append("app.log", "a\n");
    world.scan();
    world.append("app.log", "b\n");
    world.rename("app.log", "app.log.1");
    world.append("app.log", "c\n");
    world.kill().scan();
    assert_eq!(world.texts(), ["a", "b", "c"]);
    assert!(world.gaps().is_empty());
}

#[test]
fn deleted_while_stopped_is_a_gap() {
    let mut world = World::new();
    world.append("app.log", "a\n");
    world.scan();
    let id = world.journal.now.lines[0].file;
    fs::remove_file(world.path("app.log")).unwrap();
    world.kill().scan();
    let gap = Gap { file: Some(id), from: 2, to: None, why: "file-vanished" };
    assert_eq!(world.journal.now.gaps, [gap]);
    assert!(world.journal.now.positions.is_empty());
    world.kill().scan();
    assert_eq!(world.gaps().len(), 1, "said once");
}

#[test]
fn a_drained_rotated_file_deleted_while_stopped_is_no_gap() {
    let mut world = World::of(&["app.log"]);
    world.append("app.log", "a\n");
    world.scan();
    world.rename("app.log", "app.log.1");
    world.append("app.log", "b\n");
    world.scan().scan().scan().scan();
    fs::remove_file(world.path("app.log.1")).unwrap();
    world.kill().scan();
    assert!(world.gaps().is_empty());
    assert_eq!(world.journal.now.positions.len(), 1);
}

#[test]
fn fluent_bit_8025_another_file_on_the_same_inode_is_not_believed() {
    let mut world = World::new();
    world.append("app.log", "a\nb\n");
    world.scan();
    world.truncate("app.log");
    world.append("app.log", "quite another file\nthat is longer\n");
    world.kill().scan();
    assert_eq!(world.texts(), ["a", "b", "quite another file", "that is longer"]);
    assert_eq!(world.gaps(), ["replaced-while-stopped"]);
    // The same head, but other bytes before the offset.
    world.truncate("app.log");
    world.append("app.log", "quite another file\nas long as before and more\n");
    world.kill().scan();
    assert_eq!(world.texts().len(), 6);
    assert_eq!(world.gaps().len(), 2);
    assert_eq!(world.journal.now.positions.len(), 1);
}

#[test]
fn a_directory_that_is_not_mounted_yet_is_waited_for() {
    let mut world = World::of(&["mnt/*.log"]);
    fs::create_dir(world.path("mnt")).unwrap();
    world.append("mnt/app.log", "a\n");
    world.scan();
    world.rename("mnt", "unmounted");
    world.kill().scan().scan();
    assert!(world.gaps().is_empty());
    assert_eq!(world.tailer.status().unresolved, 1);
    world.rename("unmounted", "mnt");
    world.append("mnt/app.log", "b\n");
    world.scan();
    assert_eq!(world.texts(), ["a", "b"]);
    assert_eq!(world.tailer.status().unresolved, 0);
    fs::remove_dir_all(world.path("mnt")).unwrap();
    world.kill().pass(61_000);
    world.pass(61_000);
    assert_eq!(world.gaps(), ["file-vanished"]);
}

#[test]
fn a_timed_out_piece_is_remembered_over_a_kill() {
    let mut world = World::new();
    world.append("app.log", cri("stdout", "P", "half"));
    world.scan().pass(6000);
    world.append("text.log", "begin");
    world.scan().pass(6000);
    assert_eq!(world.texts(), ["half", "begin"]);
    world.kill();
    world.append("app.log", cri("stdout", "F", "rest"));
    world.scan();
    world.append("text.log", " end\nnew\n");
    world.scan();
    assert_eq!(world.texts()[2..], ["rest", " end", "new"]);
    let before: Vec<_> = world.journal.now.lines.iter().map(|l| l.cut.before).collect();
    assert_eq!(before, [false, false, true, true, false]);
}

#[test]
fn a_position_that_cannot_be_read_is_refused() {
    let options = TailOptions { watch: false, ..TailOptions::default() };
    for (bytes, version) in [(vec![1, 2, 3], false), (vec![99], true)] {
        let resume = Resume { file: FileId([0; 16]), source: None, position: bytes };
        let resume = std::iter::once(resume);
        let made = Tailer::new(options.clone(), &[7; 32], resume, Box::<ManualClock>::default());
        let error = made.unwrap_err();
        let is_version = matches!(error, TailError::Position(PositionError::Version(99)));
        assert_eq!(is_version, version);
    }
}

#[test]
fn the_rest_of_a_line_whose_beginning_vanished_while_stopped_is_marked() {
    let mut world = World::new();
    world.append("app.log", docker("whole\n", "stdout") + &docker("the beginning ", "stdout"));
    world.scan().kill();
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", docker("the rest\n", "stdout") + &docker("new\n", "stdout"));
    world.scan().pass(10_000);
    assert_eq!(world.texts(), ["whole", "the rest", "new"]);
    let cuts: Vec<_> = world.journal.now.lines.iter().map(|l| l.cut.before).collect();
    assert_eq!(cuts, [false, true, false]);
    // By whether the filesystem gave the inode again.
    assert!(
        matches!(world.gaps()[..], ["replaced-while-stopped" | "file-vanished"]),
        "{:?}",
        world.gaps()
    );
}

/// Found by a review: with two sources, an edited pattern had all lines again.
#[test]
fn an_edited_source_goes_on_where_it_was() {
    let mut world = World::of(&["a/*.log", "b/*.log"]);
    for dir in ["a", "b"] {
        fs::create_dir(world.path(dir)).unwrap();
        world.append(&format!("{dir}/app.log"), format!("{dir}1\n"));
    }
    world.scan();
    for patterns in
        [&["a/*.log", "b/*.l*"][..], &["b/*", "a/*"], &["*/*.log"], &["a/*", "b/*", "*/*"]]
    {
        world.reconfigure(patterns).scan();
        assert_eq!(world.texts(), ["a1", "b1"], "{patterns:?}");
    }
    world.append("b/app.log", "b2\n");
    world.scan();
    assert_eq!(world.texts(), ["a1", "b1", "b2"]);
    assert!(world.gaps().is_empty());
}

/// Found by a review: a file that two sources name was read twice.
#[test]
fn a_file_that_two_sources_name_is_read_once_by_the_first() {
    let mut world = World::of(&["app.log", "*.log"]);
    world.options.sources[0].max_line = 4;
    world.kill();
    world.append("app.log", "12345678\n");
    world.append("other.log", "12345678\n");
    world.scan();
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["1234", "12345678", "5678"]);
    // The rotated file stays with the source that it was found by.
    world.rename("app.log", "app.old");
    world.append("app.old", "abcdef\n");
    world.kill().scan();
    assert_eq!(world.texts()[3..], ["abcd", "ef"]);
}

#[test]
fn a_source_that_came_later_starts_where_it_says() {
    let mut world = World::of(&["app.log"]);
    world.append("app.log", "a\n");
    world.append("late.log", "old\n");
    world.scan();
    world.options.sources.push(Source {
        include: vec![world.path("late.log").to_str().unwrap().to_owned()],
        start_at: StartAt::End,
        ..Source::default()
    });
    world.append("app.log", "b\n");
    world.kill().scan();
    world.append("late.log", "new\n");
    world.scan();
    assert_eq!(world.texts(), ["a", "b", "new"]);
}
