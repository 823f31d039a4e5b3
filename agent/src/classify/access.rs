//! Access lines: common and combined log format, lighttpd's variant included.

/// The fields of an access line.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Client address (or name).
    pub client: &'a str,
    /// The authenticated user, if not `-`.
    pub user: Option<&'a str>,
    /// The time between the brackets.
    pub time: &'a str,
    /// Request method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Status code.
    pub status: u64,
    /// Bytes sent, if not `-`.
    pub bytes: Option<u64>,
    /// Referrer, user agent and whatever follows.
    pub rest: &'a str,
}

impl<'a> Access<'a> {
    /// Reads `client … user [10/Oct/2026:13:55:36 +0000] "GET /x HTTP/1.1" 200 12 …`.
    #[must_use]
    pub fn of(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let open = memchr::memchr(b'[', bytes)?;
        let stamp = bytes.get(open + 1..open + 13)?;
        if stamp.get(2) != Some(&b'/')
            || stamp.get(6) != Some(&b'/')
            || stamp.get(11) != Some(&b':')
        {
            return None;
        }
        let head = text.get(..open)?.trim_end();
        let (time, tail) = text.get(open + 1..)?.split_once("] \"")?;
        let (method, tail) = tail.split_once(' ')?;
        let end = quote(tail)?;
        let request = tail.get(..end)?;
        let target = request.rsplit_once(" HTTP/").map_or(request, |(t, _)| t);
        let mut words = tail.get(end + 1..)?.trim_start().splitn(3, ' ');
        let status = words.next()?;
        let sent = words.next().unwrap_or("-");
        let method_ok =
            (3..=10).contains(&method.len()) && method.bytes().all(|c| c.is_ascii_uppercase());
        if !method_ok || status.len() != 3 {
            return None;
        }
        let client = head.split(' ').next()?;
        let user = head.rsplit(' ').next().filter(|u| *u != "-" && *u != client);
        Some(Self {
            client,
            user,
            time: time.get(..).filter(|t| t.len() <= 32)?,
            method,
            target,
            status: status.parse().ok()?,
            bytes: sent.parse().ok(),
            rest: words.next().unwrap_or(""),
        })
    }

    /// Whether this is a log-in at the gateway.
    #[must_use]
    pub fn is_login(&self) -> bool {
        let path = self.target.split(['?', '#']).next().unwrap_or("");
        path.trim_end_matches('/').ends_with("/users/login")
    }
}

/// Where the closing quote stands; a quote behind a backslash does not close.
fn quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'"', bytes).find(|&i| i == 0 || bytes.get(i - 1) != Some(&b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let a = Access::of(r#"10.0.0.7 - - [10/Oct/2026:13:55:36 +0000] "GET /v1/contacts/15550001111/identity HTTP/1.1" 200 12"#).unwrap();
        assert_eq!(
            (a.client, a.user, a.method, a.status, a.bytes),
            ("10.0.0.7", None, "GET", 200, Some(12))
        );
        assert_eq!(a.target, "/v1/contacts/15550001111/identity");
        let b = Access::of(r#"10.0.0.7 wa:443 admin [10/Oct/2026:13:55:36 +0000] "POST /v1/users/login HTTP/1.1" 401 - "-" "curl/8""#).unwrap();
        assert!(b.is_login());
        assert_eq!((b.user, b.bytes, b.rest), (Some("admin"), None, r#""-" "curl/8""#));
    }

    #[test]
    fn other_lines_with_brackets_are_none() {
        assert!(Access::of("2023-10-18 14:53:56.152 UTC [14344] ERROR:  x").is_none());
        assert!(Access::of("[10/Oct/2026:13:55:36 +0000] nothing").is_none());
    }
}
