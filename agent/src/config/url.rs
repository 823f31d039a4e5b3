//! The URLs that a configuration can hold: where an archive is, and which
//! server speaks S3. Messages never repeat a URL: it may hold a password.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArchiveUrl {
    Directory(PathBuf),
    S3 { bucket: String, prefix: String },
}

/// Why a URL is refused, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: &'static str,
    pub(super) hint: &'static str,
}

const EXAMPLES: &str = "s3://bucket/prefix/ or file:///var/lib/sealtail/archive";

fn wrong<T>(what: &'static str, hint: &'static str) -> Result<T, Wrong> {
    Err(Wrong { what, hint })
}

impl ArchiveUrl {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        match text.split_once("://") {
            Some(("s3", rest)) => s3(rest),
            Some(("file", rest)) => directory(rest),
            Some(("splunk+https" | "splunk", _)) => wrong(
                "a Splunk sink needs a token",
                "write it under sinks: {type: splunk_hec, url: https://…, token: {file: …}}",
            ),
            Some(("datadog", _)) => wrong(
                "a Datadog sink needs a key",
                "write it under sinks: {type: datadog, site: …, api_key: {file: …}}",
            ),
            Some(("http" | "https", _)) => wrong(
                "is no URL of an archive",
                "a server that speaks S3 is named by `endpoint`, the bucket by url: s3://bucket/prefix/",
            ),
            _ => wrong("is no URL of an archive", EXAMPLES),
        }
    }
}

/// Bucket names by the S3 user guide: 3 to 63 of `a-z0-9.-`, letter or digit at both ends.
fn s3(rest: &str) -> Result<ArchiveUrl, Wrong> {
    if rest.contains('@') {
        return wrong(
            "has credentials in it",
            "they go to `credentials`, or to the AWS environment",
        );
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let ends = [bucket.as_bytes().first(), bucket.as_bytes().last()];
    let valid = (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
        && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
        && !bucket.contains("..");
    if !valid {
        return wrong(
            "names no valid bucket",
            "a bucket has 3 to 63 lower-case letters, digits, `.` and `-`: s3://audit-logs/whatsapp/",
        );
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let safe = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!_.*'()-=".contains(&b))
    };
    if prefix.contains(['{', '}']) {
        return wrong(
            "has a template in its prefix, and there are none",
            "origin, incarnation, day and hour are in every key already; ${NAME} takes a value from the environment",
        );
    }
    if !prefix.is_empty() && !prefix.split('/').all(safe) {
        return wrong(
            "has a prefix that is not safe in object keys",
            "parts of letters, digits and !-_.*'()= joined by `/`: s3://audit-logs/whatsapp/",
        );
    }
    Ok(ArchiveUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The path is taken as it stands: nothing is percent-decoded.
fn directory(rest: &str) -> Result<ArchiveUrl, Wrong> {
    let path = Path::new(rest);
    let plain = |c| matches!(c, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() {
        return wrong("is not absolute", "three slashes: file:///var/lib/sealtail/archive");
    }
    if !path.components().all(plain) || path.file_name().is_none() || rest.contains('\0') {
        return wrong("is no folder for an archive", "file:///var/lib/sealtail/archive");
    }
    if rest.contains(['%', '?', '#']) {
        return wrong(
            "has `%`, `?` or `#` in it",
            "the path is taken as it stands, without escapes",
        );
    }
    Ok(ArchiveUrl::Directory(path.components().collect()))
}

/// Whether this is `https://host[:port]`, or `http://` where that is allowed:
/// on this machine, or with `allow_insecure`.
pub(super) fn endpoint(text: &str, allow_insecure: bool) -> Result<(), Wrong> {
    const SHAPE: &str = "https://host:port, without a path";
    let (secure, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return wrong("is no URL of a server", SHAPE),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return wrong("has credentials in it", "they go to `credentials`");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let numeric = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let named = match inside {
        Some(v6) => v6.parse::<IpAddr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        }
    };
    if !numeric || !named {
        return wrong("is no URL of a server", SHAPE);
    }
    let address = inside.unwrap_or(host).parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|a| a.is_loopback());
    if !secure && !here && !allow_insecure {
        return wrong(
            "is plain http:// to another machine",
            "write https://, or allow_insecure: true beside it if the way is trusted",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> ArchiveUrl {
        ArchiveUrl::S3 { bucket: bucket.into(), prefix: prefix.into() }
    }

    #[test]
    fn archives() {
        let parse = |text| ArchiveUrl::parse(text).unwrap();
        assert_eq!(parse("s3://audit-logs/whatsapp/"), s3("audit-logs", "whatsapp"));
        assert_eq!(parse("s3://audit-logs"), s3("audit-logs", ""));
        assert_eq!(parse("s3://audit-logs/"), s3("audit-logs", ""));
        assert_eq!(parse("s3://a.b-3/x/y=1"), s3("a.b-3", "x/y=1"));
        assert_eq!(parse("file:///srv/a/"), ArchiveUrl::Directory("/srv/a".into()));
    }

    #[test]
    fn what_is_no_archive() {
        for text in [
            "",
            "/srv/a",
            "s3:/x",
            "S3://audit",
            "s3://",
            "s3://ab",
            "s3://Audit",
            "s3://a_b_c",
            "s3://-ab",
            "s3://a..b",
            "s3://audit//x",
            "s3://audit/../x",
            "s3://audit/x y",
            "s3://k:s@audit/x",
            "file://srv/a",
            "file://localhost/srv",
            "file:///",
            "file:///srv/../etc",
            "file:///a%20b",
            "https://bucket.s3.amazonaws.com/",
            "splunk+https://h:8088",
            "datadog://datadoghq.eu",
        ] {
            assert!(ArchiveUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        for text in [
            "https://s3.example",
            "https://s3.example:9000/",
            "http://127.0.0.1:9000",
            "http://localhost:9000",
            "http://[::1]:9000",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(endpoint(text, false), Ok(()), "{text}");
        }
        for text in [
            "s3.example",
            "https://",
            "https://a:b",
            "https://a:0",
            "https://a/b",
            "https://u:p@a",
            "ftp://a",
            "http://s3.example",
            "http://10.0.0.1",
            "https://[::1",
        ] {
            assert!(endpoint(text, false).is_err(), "{text}");
        }
        assert_eq!(endpoint("http://minio.svc:9000", true), Ok(()));
    }
}
