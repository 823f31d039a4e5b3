//! Lines of the coreapp (new form and glog form) and of lighttpd's error log.

/// The fields of such a line.
#[derive(Debug, Clone, Copy)]
pub struct Core<'a> {
    /// `D`, `I`, `W`, `E`, `F`; empty for lighttpd.
    pub level: &'a str,
    /// The time as it was written.
    pub time: &'a str,
    /// Thread number; empty for lighttpd.
    pub thread: &'a str,
    /// `file.cpp:12`.
    pub file: &'a str,
    /// What it says.
    pub text: &'a str,
    /// `req_id=` at its end; empty if there is none.
    pub req_id: &'a str,
}

impl<'a> Core<'a> {
    /// Reads one of the three forms.
    #[must_use]
    pub fn of(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix("FIELDSTATS: ").unwrap_or(text);
        new_form(text).or_else(|| glog(text)).or_else(|| lighttpd(text))
    }
}

fn level(text: &str) -> Option<&str> {
    text.get(..1).filter(|l| matches!(*l, "D" | "I" | "W" | "E" | "F"))
}

/// `D 2021-12-15 12:20:42.060 UTC 19 file.cpp:335] text req_id=Main`.
fn new_form(text: &str) -> Option<Core<'_>> {
    let level = level(text)?;
    let rest = text.get(1..)?.strip_prefix(' ')?;
    let time =
        rest.get(..27).filter(|t| t.ends_with(" UTC") && stamp(t.trim_end_matches(" UTC")))?;
    finish(level, time, rest.get(27..)?)
}

/// `I0607 11:02:27.617393    16 file.cpp:271] text req_id=x`.
fn glog(text: &str) -> Option<Core<'_>> {
    let level = level(text)?;
    let time = text.get(1..21).filter(|t| stamp(t) && t.as_bytes().get(4) == Some(&b' '))?;
    finish(level, time, text.get(21..)?)
}

fn stamp(time: &str) -> bool {
    time.starts_with(|c: char| c.is_ascii_digit())
        && time.bytes().all(|c| c.is_ascii_digit() || matches!(c, b' ' | b':' | b'.' | b'-'))
}

fn finish<'a>(level: &'a str, time: &'a str, rest: &'a str) -> Option<Core<'a>> {
    let rest = rest.strip_prefix(' ')?.trim_start();
    let (thread, rest) = rest.split_once(' ')?;
    let (file, text) = rest.split_once(']')?;
    let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b':' | b'/');
    let fits = thread.bytes().all(|c| c.is_ascii_digit())
        && (1..=8).contains(&thread.len())
        && (1..=96).contains(&file.len())
        && file.bytes().all(name);
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (text, req_id) = match text.rsplit_once("req_id=") {
        Some((t, id)) if !id.contains(' ') => (t.strip_suffix(' ').unwrap_or(t), id),
        _ => (text, ""),
    };
    fits.then_some(Core { level, time, thread, file, text, req_id })
}

/// `2021-12-15 12:19:51: (mod_openssl.c.1796) text`.
fn lighttpd(text: &str) -> Option<Core<'_>> {
    let time = text.get(..19).filter(|t| stamp(t))?;
    let (file, text) = text.get(19..)?.strip_prefix(": (")?.split_once(") ")?;
    let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    let fits = file.len() <= 64 && file.bytes().all(name);
    fits.then_some(Core { level: "", time, thread: "", file, text, req_id: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let c = Core::of("FIELDSTATS: D 2026-02-07 12:12:06.668 UTC 16 stats.cpp:177] wam file is missing req_id=Main").unwrap();
        assert_eq!(
            (c.level, c.time, c.thread, c.file, c.text, c.req_id),
            (
                "D",
                "2026-02-07 12:12:06.668 UTC",
                "16",
                "stats.cpp:177",
                "wam file is missing",
                "Main"
            )
        );
        let g =
            Core::of("I0607 11:02:27.617393    16 manager.cpp:271] Processing req_id=x").unwrap();
        assert_eq!(
            (g.level, g.time, g.thread, g.text),
            ("I", "0607 11:02:27.617393", "16", "Processing")
        );
        let l = Core::of("2026-12-15 12:19:51: (mod_openssl.c.1796) SSL: 1 error").unwrap();
        assert_eq!((l.file, l.text), ("mod_openssl.c.1796", "SSL: 1 error"));
        assert!(Core::of("Database is up").is_none());
    }
}
