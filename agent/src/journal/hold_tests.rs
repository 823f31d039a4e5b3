//! Who needs which records, and who lets go.

use super::*;
use crate::disk::sim::SimDisk;
use std::sync::Arc;

/// A journal that is full: sixteen segments of 64 KiB, and a commit that waits.
fn full() -> Journal {
    let options = Options { path: "/journal".into(), max_bytes: 1 << 20, segment_bytes: 64 << 10 };
    let disk = Arc::new(SimDisk::new());
    let key = JournalKey::new([5; 32]);
    let mut journal = Journal::open(disk, options, &key, "wa/test", 1).unwrap();
    let body = format!("\"event\":\"log\",\"text\":\"{}\"}}", "x".repeat(10_000));
    while journal.commit(1).is_ok() {
        journal.append(Kind::Line, body.as_bytes());
    }
    assert!(journal.handle().is_starved());
    journal
}

/// At a start the one who is ahead may be known before the one who is behind.
#[test]
fn who_is_known_later_is_not_trimmed_away() {
    for ahead_first in [true, false] {
        let mut journal = full();
        let handle = journal.handle();
        let (end, last) = (journal.end(), Seq(journal.end().0 - 1));
        let ahead = || handle.hold_loosely("splunk", last);
        if ahead_first {
            ahead();
        }
        handle.set_floor(Seq(7));
        if !ahead_first {
            ahead();
        }
        journal.trim().unwrap();
        assert!(journal.begin() <= Seq(7), "the sealer needs record 7 of {end}");
        Reader::new(handle.clone(), Seq(7)).unwrap();
        handle.set_floor(last);
        journal.trim().unwrap();
        assert!(journal.begin() > Seq(7));
    }
}

#[test]
fn only_who_holds_loosely_is_asked_and_only_for_what_nobody_else_needs() {
    let mut journal = full();
    let handle = journal.handle();
    handle.set_floor(journal.end());
    handle.hold_loosely("splunk", Seq(0));
    handle.hold_loosely("datadog", Seq(journal.end().0 - 1));
    let upto = handle.asked_to_yield("splunk").unwrap();
    assert!(Seq(0) < upto && upto < journal.end());
    assert_eq!(handle.asked_to_yield("datadog"), None, "it has them all");
    assert_eq!(handle.asked_to_yield("nobody"), None);
    // An eighth of the bound: two segments and their rest.
    assert!((5..=20).contains(&upto.0), "{upto}");
    // Somebody who is sure of it needs the same records.
    handle.hold("archive-2", Seq(1));
    assert_eq!(handle.asked_to_yield("splunk"), None);
    handle.hold("archive-2", journal.end());
    handle.hold_loosely("splunk", upto);
    assert_eq!(handle.asked_to_yield("splunk"), None, "there is room for the taking");
    journal.trim().unwrap();
    assert_eq!(journal.begin(), upto);
    assert_eq!(handle.asked_to_yield("splunk"), None, "before the writer has tried again");
    journal.commit(1).unwrap();
    assert!(!handle.is_starved());
}
