//! Tells what a line is. Reads only; writes nothing, keeps nothing.
//!
//! Promise: a shape is claimed only when the line really has it; what has no
//! known shape is text (and what begins like JSON but is none is `broken`, which
//! the policy must treat as content).

pub mod access;
pub mod core;
pub mod db;
pub mod document;
pub mod rules;

/// A line without JSON in it, by its form.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    /// Common or combined log format.
    Access(access::Access<'a>),
    /// A coreapp line, new or old form, or one of lighttpd's error log.
    Core(core::Core<'a>),
    /// Database errors and what belongs to them.
    Db(db::Db<'a>),
    /// `==> path <==`.
    Header(&'a str),
    /// A frame of a PHP stack trace: what stands before its arguments.
    PhpFrame(&'a str),
    /// No form.
    Text(&'a str),
}

impl<'a> Form<'a> {
    /// The form of `text`.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if let Some(access) = access::Access::of(text) {
            return Self::Access(access);
        }
        if let Some(db) = db::Db::of(text) {
            return Self::Db(db);
        }
        if let Some(core) = core::Core::of(text) {
            return Self::Core(core);
        }
        if let Some(path) = text.strip_prefix("==> ").and_then(|t| t.strip_suffix(" <==")) {
            return Self::Header(path);
        }
        php_frame(text).map_or(Self::Text(text), Self::PhpFrame)
    }
}

/// `#3 /var/www/…/Connection.php(2): Doctrine\DBAL\Connection->connect(…)`.
fn php_frame(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('#')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || rest.as_bytes().get(digits) != Some(&b' ') {
        return None;
    }
    // The arguments begin at the first parenthesis behind `file(line): `.
    let call = text.find("): ").map_or(0, |at| at + 3);
    let open = text.get(call..)?.find('(')? + call;
    text.get(..open)
}

/// Takes off `docker compose`'s `service-1  | `; the service, and the rest.
#[must_use]
pub fn compose(text: &str) -> (Option<&str>, &str) {
    let head = text.as_bytes().get(..text.len().min(48)).unwrap_or_default();
    let split = memchr::memchr(b'|', head).and_then(|bar| {
        let service = text.get(..bar)?.trim_end();
        let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let ok = !service.is_empty() && service.len() < bar && service.bytes().all(name);
        let rest = text.get(bar + 1..)?;
        ok.then(|| (Some(service), rest.strip_prefix(' ').unwrap_or(rest)))
    });
    split.unwrap_or((None, text))
}

/// Where JSON may begin in `text`, from `from` on: a `{` with a quote or a brace
/// behind it, or a `[` before such a brace.
#[must_use]
pub fn json_start(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += memchr::memchr(b'{', bytes.get(at..)?)?;
        let inside = bytes.get(at + 1..)?;
        let first = inside.iter().find(|c| !c.is_ascii_whitespace());
        let quoted = matches!(first, Some(b'"' | b'\'' | b'\\'));
        // Cut off directly behind the brace, in a line that begins with it.
        let ended = first.is_none() && at == 0;
        if quoted || ended {
            let mut start = at;
            while start > from && bytes.get(start - 1).is_some_and(|&c| c == b'[' || c == b' ') {
                start -= 1;
            }
            let lead = bytes.get(start..at).unwrap_or_default();
            let array = memchr::memchr(b'[', lead).map(|i| start + i);
            return Some(array.unwrap_or(at));
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_behind_a_prefix() {
        assert_eq!(json_start("INFO webhook: {\"a\":1}", 0), Some(14));
        assert_eq!(json_start("x [ {\"a\":1}]", 0), Some(2));
        assert_eq!(json_start("\"{db_request,[a=1]}\"", 0), None);
    }

    #[test]
    fn a_php_frame_ends_before_its_arguments() {
        let line =
            r"#2 /var/www/Connection.php(2): Doctrine\PDO\Driver->connect(Array, 'root', 'pw')";
        let want = r"#2 /var/www/Connection.php(2): Doctrine\PDO\Driver->connect";
        assert!(matches!(Form::of(line), Form::PhpFrame(f) if f == want));
    }

    #[test]
    fn compose_prefixes_come_off() {
        assert_eq!(compose("biz-waweb-1   | ==> x <=="), (Some("biz-waweb-1"), "==> x <=="));
        assert_eq!(compose("a b | c"), (None, "a b | c"));
    }
}
