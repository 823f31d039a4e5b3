//! Object keys: the part of an object's name below the archive's root.
//!
//! On the read side keys come out of leaves that anybody may have written, so a
//! key that could leave the root, or that a directory and a bucket would
//! understand differently, is refused before it is used.

use super::error::{Doing, StoreError};

/// Longest key in bytes, prefix included (S3's own bound).
const LONGEST: usize = 1024;
/// Longest segment in bytes: a file name of 255 with room for a temporary suffix.
const LONGEST_SEGMENT: usize = 255 - TEMPORARY_ROOM;
const TEMPORARY_ROOM: usize = 32;
/// Ends the name of a file that is not an object yet.
pub(super) const TEMPORARY: &str = ".tmp";

/// Why a key cannot be used; `None` when it can.
fn fault(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("the key is empty");
    }
    if key.len() > LONGEST {
        return Some("the key is longer than 1024 bytes");
    }
    if key.chars().any(char::is_control) || key.contains('\\') {
        return Some("the key holds a control character or a backslash");
    }
    if key.ends_with(TEMPORARY) {
        return Some("keys that end in .tmp are kept for files in the making");
    }
    key.split('/').find_map(|segment| match segment {
        "" => Some("the key has an empty segment"),
        "." | ".." => Some("the key has a relative segment"),
        s if s.len() > LONGEST_SEGMENT => Some("a segment of the key is too long"),
        _ => None,
    })
}

/// Refuses a key that is not a plain relative path.
///
/// # Errors
/// [`StoreError::Refused`] with the reason.
pub(super) fn check(doing: Doing, root: &str, key: &str) -> Result<(), StoreError> {
    match fault(key) {
        None => Ok(()),
        // Not shown as it is: it may hold anything.
        Some(reason) => {
            let shown: String = key.escape_debug().take(120).collect();
            Err(StoreError::refused(doing, &format!("{root}{shown}"), reason))
        }
    }
}

/// Refuses a listing prefix that could leave the root. May be empty, may end in
/// the middle of a name.
///
/// # Errors
/// [`StoreError::Refused`] with the reason.
pub(super) fn check_prefix(root: &str, prefix: &str) -> Result<(), StoreError> {
    let folder = match prefix.rsplit_once('/') {
        None => return Ok(()),
        Some((folder, _)) => folder,
    };
    check(Doing::List, root, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_archive_uses_is_accepted() {
        for key in [
            "checkpoint",
            "wa/prod/gateway-0/20261122T095900Z-5f0c2a91/log/00000000000000000000.tlog-proof",
            "o/i/batch/dt=2026-11-22/hour=09/00000000000000183220.ndjson.gz.esdk",
        ] {
            assert!(check(Doing::Write, "/r/", key).is_ok(), "{key}");
        }
    }

    #[test]
    fn keys_that_leave_the_root_are_refused() {
        let long = "a".repeat(1025);
        let long_segment = "a".repeat(250);
        for key in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "a/./b",
            "a\0b",
            "a\nb",
            "a\\b",
            "x.tmp",
            &long,
            &long_segment,
        ] {
            let e = check(Doing::Read, "/r/", key).unwrap_err();
            assert!(!e.to_string().contains('\n') && !e.to_string().contains('\0'), "{key:?}");
        }
    }

    #[test]
    fn listing_prefixes_may_end_inside_a_name() {
        for ok in ["", "a", "a/", "a/b", "a/b/lo"] {
            assert!(check_prefix("/r/", ok).is_ok(), "{ok}");
        }
        for bad in ["/", "../", "a/../b", "//x"] {
            assert!(check_prefix("/r/", bad).is_err(), "{bad}");
        }
    }
}
