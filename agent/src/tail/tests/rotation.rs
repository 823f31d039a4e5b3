//! Rotation of every kind, and what becomes of a file that loses its name.

use super::*;

#[test]
fn a_file_renamed_while_behind_is_drained_before_its_successor() {
    let mut world = World::of(&["app.log"]);
    world.append("app.log", "one\n");
    world.scan();
    world.append("app.log", "two\n");
    world.rename("app.log", "app.log.1");
    world.append("app.log", "three\n");
    world.scan();
    assert_eq!(world.texts(), ["one", "two", "three"]);
    // The writer may still have the old one open.
    world.append("app.log.1", "late\n");
    world.scan();
    assert_eq!(world.texts(), ["one", "two", "three", "late"]);
    assert!(world.gaps().is_empty());
    assert_eq!(world.journal.now.positions.len(), 2, "known while it has a name");
    fs::remove_file(world.path("app.log.1")).unwrap();
    world.scan().scan().scan();
    assert_eq!(world.journal.now.positions.len(), 1, "let go when deleted");
    assert_eq!(world.tailer.status().files, 1);
    assert!(world.gaps().is_empty());
}

#[test]
fn fluent_bit_2110_rotated_twice_while_behind() {
    // A tailer that closes rotated files by a timer, or follows paths, loses "b".
    let mut world = World::new();
    world.append("app.log", "a\n");
    world.scan();
    world.append("app.log", "b\n");
    world.rename("app.log", "app.log.1");
    world.append("app.log", "c\n");
    world.pass(1000);
    world.append("app.log", "d\n");
    world.rename("app.log.1", "app.log.2");
    world.rename("app.log", "app.log.1");
    world.append("app.log", "e\n");
    world.pass(3_600_000);
    assert_eq!(world.texts(), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_rotated_file_that_the_glob_still_matches_is_not_read_twice() {
    let mut world = World::of(&["app.log*"]);
    world.append("app.log", "a\n");
    world.scan();
    world.rename("app.log", "app.log.1");
    world.append("app.log", "b\n");
    world.scan().scan().scan();
    // kubelet renames back when the reopening fails.
    world.rename("app.log.1", "app.log.9");
    world.rename("app.log", "app.log.8");
    world.rename("app.log.9", "app.log");
    world.append("app.log", "c\n");
    world.scan().scan();
    world.kill().scan();
    assert_eq!(world.texts(), ["a", "b", "c"]);
}

#[test]
fn vector_11742_a_file_deleted_while_open_is_read_to_its_end_and_closed() {
    let mut world = World::new();
    world.append("app.log", "a\n");
    world.scan();
    world.append("app.log", "b\nunfinished");
    fs::remove_file(world.path("app.log")).unwrap();
    // Docker with max-file 1: deleted and made anew.
    world.append("app.log", "c\n");
    world.scan().scan().scan().scan();
    let texts = world.texts();
    assert_eq!(texts, ["a", "b", "c", "unfinished"]);
    let last = &world.journal.now.lines[3];
    assert_eq!(last.cut, Cut { before: false, after: Some(CutReason::FileEnded) });
    assert_eq!(world.tailer.status().files, 1, "the space is given back");
    assert_eq!(world.journal.now.positions.len(), 1);
    assert!(world.gaps().is_empty());
}

#[test]
fn a_file_moved_to_another_directory_is_let_go() {
    let mut world = World::new();
    fs::create_dir(world.path("archive")).unwrap();
    world.append("app.log", "a\nb\n");
    world.scan();
    world.append("app.log", "c\n");
    world.rename("app.log", "archive/app.log");
    world.scan().scan().scan().scan();
    assert_eq!(world.texts(), ["a", "b", "c"]);
    assert_eq!(world.tailer.status().files, 0);
    assert!(world.journal.now.positions.is_empty());
}

#[test]
fn copytruncate_is_seen_by_the_size() {
    let mut world = World::new();
    world.append("app.log", "first\nsecond\n");
    world.scan();
    let first = world.journal.now.lines[0].file;
    world.truncate("app.log");
    world.append("app.log", "x\n");
    world.scan();
    assert_eq!(world.texts(), ["first", "second", "x"]);
    assert_ne!(world.journal.now.lines[2].file, first, "a second life has its own name");
    assert!(world.gaps().is_empty(), "all of it had been read");
    assert_eq!(world.journal.now.positions.len(), 1);
}

#[test]
fn vector_23076_copytruncate_that_grew_past_the_offset_is_seen_by_the_bytes_before_it() {
    let mut world = World::new();
    world.append("app.log", "first\nsecond\n");
    world.scan();
    world.truncate("app.log");
    world.append("app.log", "another first line\nanother second line\n");
    world.scan();
    assert_eq!(world.texts(), ["first", "second", "another first line", "another second line"]);
}

#[test]
fn two_lives_with_the_same_first_line_have_two_names() {
    let mut world = World::new();
    world.append("app.log", "banner\nsecond\n");
    world.scan();
    world.truncate("app.log");
    world.append("app.log", "banner\n");
    world.scan();
    let lines = &world.journal.now.lines;
    assert_eq!(world.texts(), ["banner", "second", "banner"]);
    assert_ne!(lines[0].file, lines[2].file);
}

#[test]
fn otel_46496_two_files_with_the_same_first_lines_are_two() {
    let mut world = World::new();
    world.append("a.log", "banner\nbanner\n");
    world.append("b.log", "banner\nbanner\n");
    world.scan();
    assert_eq!(world.texts().len(), 4);
    assert_eq!(world.journal.now.positions.len(), 2);
}

#[test]
fn what_copytruncate_took_before_it_was_read_is_a_gap() {
    let mut world = World::with(|_| {});
    world.journal.block = Some(1);
    world.append("app.log", "a\nb\nc\n");
    world.clock.0.fetch_add(1000, Ordering::SeqCst);
    world.tailer.step(&mut world.journal);
    assert_eq!(world.texts(), ["a"]);
    world.truncate("app.log");
    world.append("app.log", "z\n");
    world.scan();
    assert_eq!(world.texts(), ["a", "z"]);
    let gap = &world.journal.now.gaps[0];
    assert_eq!((gap.from, gap.to, gap.why), (2, None, "overwritten"));
    assert_eq!(gap.file, Some(world.journal.now.lines[0].file));
}

#[test]
fn a_line_that_begins_in_one_file_ends_in_its_successor() {
    let mut world = World::new();
    world.append("0.log", cri("stdout", "F", "whole") + &cri("stdout", "P", "begins "));
    world.scan();
    world.rename("0.log", "0.log.20260101-000000");
    world.append("0.log", cri("stderr", "F", "other"));
    world.scan();
    // What is held of the old file is named in the position of the new one.
    world.kill().scan();
    world.append("0.log", cri("stdout", "F", "and ends") + &cri("stdout", "F", "next"));
    world.scan();
    assert_eq!(world.texts(), ["whole", "other", "begins and ends", "next"]);
    assert!(world.journal.now.lines.iter().all(|l| !l.cut.is_cut()));
    // And the old file is not asked for it again.
    world.kill().pass(10_000);
    assert_eq!(world.texts().len(), 4);
    assert!(world.gaps().is_empty());
}

#[test]
fn a_lender_deleted_while_stopped_is_a_gap_of_what_was_held() {
    let mut world = World::new();
    world.append("0.log", cri("stdout", "P", "begins "));
    world.scan();
    world.rename("0.log", "0.log.1");
    world.append("0.log", cri("stderr", "F", "other"));
    world.scan().scan().scan();
    fs::remove_file(world.path("0.log.1")).unwrap();
    world.kill().scan();
    world.append("0.log", cri("stdout", "F", "ends"));
    world.scan();
    assert_eq!(world.gaps(), ["held-file-gone"]);
    assert_eq!(world.texts(), ["other", "ends"]);
}

#[test]
fn a_container_that_starts_again_does_not_inherit_half_a_line() {
    let mut world = World::new();
    fs::create_dir(world.path("pod")).unwrap();
    let link = |n: &str| {
        let _ = fs::remove_file(world.path("web.log"));
        std::os::unix::fs::symlink(world.path(&format!("pod/{n}.txt")), world.path("web.log"))
            .unwrap();
    };
    world.append("pod/0.txt", cri("stdout", "P", "died here"));
    link("0");
    world.append("pod/1.txt", cri("stdout", "F", "fresh"));
    world.scan();
    let link = |world: &World, n: &str| {
        fs::remove_file(world.path("web.log")).unwrap();
        std::os::unix::fs::symlink(world.path(&format!("pod/{n}.txt")), world.path("web.log"))
            .unwrap();
    };
    link(&world, "1");
    world.scan();
    assert_eq!(world.texts(), ["fresh"]);
    world.pass(5000);
    assert_eq!(world.texts(), ["fresh", "died here"]);
    assert_eq!(world.journal.now.lines[1].cut.after, Some(CutReason::TimedOut));
}

#[test]
fn the_rest_of_a_line_comes_long_after_its_beginning_was_deleted() {
    let mut world = World::new();
    world.append("app.log", docker("the beginning ", "stdout"));
    world.scan();
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", "");
    world.scan().scan().scan().scan();
    world.append("app.log", docker("and the rest\n", "stdout"));
    world.scan();
    assert_eq!(world.texts(), ["the beginning and the rest"]);
}

#[test]
fn a_deleted_beginning_that_was_given_up_leaves_a_rest_that_is_marked_after_a_kill() {
    let mut world = World::new();
    world.append("app.log", docker("the beginning ", "stdout"));
    world.scan();
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", "");
    world.scan().pass(60_000);
    assert_eq!(world.texts(), ["the beginning "]);
    world.kill();
    world.append("app.log", docker("and the rest\n", "stdout"));
    world.scan().pass(60_000);
    assert_eq!(world.texts(), ["the beginning ", "and the rest"]);
    assert!(world.journal.now.lines[1].cut.before);
}

#[test]
fn the_rest_of_a_line_that_was_cut_by_a_truncation_is_marked() {
    let mut world = World::new();
    world.append("app.log", docker("the beginning ", "stdout"));
    world.scan();
    world.truncate("app.log");
    world.scan();
    world.append("app.log", docker("and the rest\n", "stdout") + &docker("new\n", "stdout"));
    world.scan();
    assert_eq!(world.texts(), ["the beginning ", "and the rest", "new"]);
    let cuts: Vec<_> = world.journal.now.lines.iter().map(|l| l.cut.before).collect();
    assert_eq!(cuts, [false, true, false]);
}
