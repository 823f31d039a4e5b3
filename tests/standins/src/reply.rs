//! Replies, written by hand, because the faults need to cut them anywhere.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers beside `Content-Length` and `Date`, which are added.
    pub headers: Vec<(String, String)>,
    /// The body, as it is sent.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply with an empty body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A reply in JSON.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        Self::new(status).header("Content-Type", "application/json; charset=UTF-8").body(body)
    }

    /// What Splunk says: `{"text":…,"code":…}`.
    #[must_use]
    pub fn splunk(status: u16, code: u16, text: &str) -> Self {
        let text = serde_json::Value::from(text);
        Self::json(status, &format!(r#"{{"text":{text},"code":{code}}}"#))
    }

    /// What Datadog's intake says: `{"errors":[{"status","title","detail"}]}`.
    #[must_use]
    pub fn datadog(status: u16, detail: &str) -> Self {
        let errors = serde_json::json!({"errors": [
            {"status": status.to_string(), "title": reason(status), "detail": detail}]});
        Self::json(status, &errors.to_string())
    }

    /// The HTML page that a proxy shows for a backend it has lost.
    #[must_use]
    pub fn html_404() -> Self {
        Self::new(404).header("Content-Type", "text/html").header("Server", "nginx").body(
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n\
             <center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
        )
    }

    /// A redirect, 301, 302, 307 or 308, to `url`.
    #[must_use]
    pub fn redirect(status: u16, url: &str) -> Self {
        Self::new(status).header("Location", url)
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("Retry-After", &seconds.to_string())
    }

    /// `Retry-After` as a date, to the second.
    #[must_use]
    pub fn retry_after_date(self, at: SystemTime) -> Self {
        self.header("Retry-After", &http_date(at))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Date: {}\r\n", http_date(SystemTime::now())));
        if self.status != 204 && !self.has("content-length") && !self.has("transfer-encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
#[must_use]
pub fn http_date(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        102 => "Processing",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
