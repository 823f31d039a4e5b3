//! Where an archive is, as people write it: `s3://bucket/prefix/`,
//! `file:///dir`, or for reading a plain directory.
//!
//! Refused, with a word about what was probably meant: other schemes, a file
//! URL with a host, bucket names that S3 does not allow, queries and fragments.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place that can hold an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket and the prefix of every key: empty, or without a slash at
    /// either end.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What stands before every key.
        prefix: String,
    },
    /// A directory, absolute.
    Dir(PathBuf),
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The scheme is not one of ours.
    #[error("failed to read {0:?} as an archive: {1}")]
    Scheme(String, &'static str),
    /// The bucket's name is not one.
    #[error(
        "failed to read {0:?} as an archive: bucket names have 3 to 63 lower-case letters, \
         digits, dots and hyphens, as in s3://audit-logs/whatsapp/"
    )]
    Bucket(String),
    /// The prefix cannot stand before keys.
    #[error("failed to read {0:?} as an archive: {1}")]
    Prefix(String, &'static str),
    /// The path is not one.
    #[error("failed to read {0:?} as an archive: {1}")]
    Path(String, &'static str),
}

impl Location {
    /// Reads the URL of a sink: `s3://…` or `file:///…`, nothing else.
    ///
    /// # Errors
    /// [`UrlError`] with what was probably meant.
    pub fn parse_url(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UrlError::Scheme(
                text.to_owned(),
                "write s3://bucket/prefix/ or file:///directory",
            ));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => s3(text, rest),
            "file" => file(text, rest),
            "http" | "https" => Err(UrlError::Scheme(
                text.to_owned(),
                "write s3://bucket/prefix/ here and the server's address as the endpoint",
            )),
            _ => Err(UrlError::Scheme(text.to_owned(), "only s3:// and file:// hold archives")),
        }
    }

    /// Reads what a person gives to `verify` and `open`: a URL as in
    /// [`Location::parse_url`], or the path of a directory, relative to the
    /// working directory.
    ///
    /// # Errors
    /// [`UrlError`] with what was probably meant.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.contains("://") {
            return Self::parse_url(text);
        }
        if text.starts_with("s3:") || text.starts_with("file:") {
            return Err(UrlError::Scheme(text.to_owned(), "the scheme is followed by ://"));
        }
        match std::path::absolute(text) {
            Ok(path) => Ok(Self::Dir(path)),
            Err(_) => Err(UrlError::Path(text.to_owned(), "this is no path")),
        }
    }
}

/// As it is written in a configuration; parses back to the same place.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}/"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}/"),
            Self::Dir(path) => write!(f, "file://{}", percent_encoded(path)),
        }
    }
}

fn s3(text: &str, rest: &str) -> Result<Location, UrlError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&bucket.len())
        || !bucket.bytes().all(plain)
        || !bucket.starts_with(edge)
        || !bucket.ends_with(edge)
        || bucket.contains("..")
    {
        return Err(UrlError::Bucket(text.to_owned()));
    }
    let prefix = prefix.trim_end_matches('/');
    let bad = |why| Err(UrlError::Prefix(text.to_owned(), why));
    if prefix.contains(['?', '#']) {
        return bad("a prefix has no ? or #");
    }
    if prefix.chars().any(char::is_control) || prefix.contains('\\') {
        return bad("a prefix has no control characters or backslashes");
    }
    if !prefix.is_empty() && prefix.split('/').any(|s| matches!(s, "" | "." | "..")) {
        return bad("a prefix has no empty or relative segments");
    }
    if prefix.len() > 512 {
        return bad("a prefix has at most 512 bytes");
    }
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn file(text: &str, rest: &str) -> Result<Location, UrlError> {
    let bad = |why| Err(UrlError::Path(text.to_owned(), why));
    let path = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
    if !path.starts_with('/') {
        return bad("a file URL has three slashes, as in file:///var/lib/sealtail/archive");
    }
    if path.contains(['?', '#']) {
        return bad("write ? as %3F and # as %23");
    }
    match percent_decoded(path) {
        Some(path) if path.contains('\0') => bad("a path has no zero bytes"),
        Some(path) => Ok(Location::Dir(PathBuf::from(path))),
        None => bad("a percent sign is followed by two hex digits of UTF-8 text"),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

fn percent_encoded(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> Location {
        Location::S3 { bucket: bucket.into(), prefix: prefix.into() }
    }

    #[test]
    fn buckets_and_prefixes() {
        for (text, want) in [
            ("s3://audit-logs/whatsapp/", s3("audit-logs", "whatsapp")),
            ("s3://audit-logs/whatsapp", s3("audit-logs", "whatsapp")),
            ("s3://audit-logs", s3("audit-logs", "")),
            ("S3://audit.logs/", s3("audit.logs", "")),
            ("s3://abc/a/b=c/d e//", s3("abc", "a/b=c/d e")),
        ] {
            let got = Location::parse_url(text).unwrap();
            assert_eq!(got, want, "{text}");
            assert_eq!(Location::parse_url(&got.to_string()).unwrap(), got, "{text}");
        }
    }

    #[test]
    fn directories() {
        for (text, path) in [
            ("file:///var/lib/archive", "/var/lib/archive"),
            ("file://localhost/var/a", "/var/a"),
            ("file:///with%20space/%C3%BC%25", "/with space/ü%"),
            ("file:///a b?".strip_suffix('?').unwrap(), "/a b"),
        ] {
            let got = Location::parse_url(text).unwrap();
            assert_eq!(got, Location::Dir(path.into()), "{text}");
            assert_eq!(Location::parse_url(&got.to_string()).unwrap(), got, "{text}");
        }
        assert_eq!(Location::parse("/some/dir").unwrap(), Location::Dir("/some/dir".into()));
        let here = std::env::current_dir().unwrap();
        assert_eq!(Location::parse("some/dir").unwrap(), Location::Dir(here.join("some/dir")));
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        for (text, hint) in [
            ("file://var/lib", "three slashes"),
            ("file:///a%zz", "two hex digits"),
            ("file:///a%4", "two hex digits"),
            ("https://b.s3.amazonaws.com/x", "endpoint"),
            ("gs://b/x", "only s3:// and file://"),
            ("/var/lib/archive", "file:///directory"),
            ("s3://", "bucket names"),
            ("s3://Upper/x", "bucket names"),
            ("s3://a/x", "bucket names"),
            ("s3://-ab/x", "bucket names"),
            ("s3://a..b/x", "bucket names"),
            ("s3://user:pw@host/x", "bucket names"),
            ("s3://abc/../x", "relative"),
            ("s3://abc//x", "empty"),
            ("s3://abc/x?versionId=1", "no ?"),
        ] {
            let error = Location::parse_url(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        for text in ["s3:/b/x", "file:/a", "s3:b"] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains("://"), "{text}: {error}");
        }
    }
}
