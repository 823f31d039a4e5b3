//! E-mail addresses, IP addresses, passwords in URLs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::stats::Class;
use super::pass::Pass;

fn is_local(c: u8) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, b'.' | b'_' | b'%' | b'+' | b'-')
        || (0x80..0xff).contains(&c)
}

fn is_domain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-') || (0x80..0xff).contains(&c)
}

/// Whether a host hands out users' media: who has such a URL (and often a token)
/// has the file.
fn is_media_host(authority: &[u8]) -> bool {
    let host = authority.split(|&c| c == b':').next().unwrap_or_default();
    [&b".fbsbx.com"[..], b".fbcdn.net", b"mmg.whatsapp.net", b"media.whatsapp.net"].iter().any(
        |d| {
            host.len() >= d.len()
                && host.get(host.len() - d.len()..).is_some_and(|h| h.eq_ignore_ascii_case(d))
        },
    )
}

impl Pass<'_> {
    /// `@`: an e-mail address around it, or a JID whose user has no digits.
    pub(super) fn at_sign(&mut self) {
        if let Some((start, end)) = self.email_at(self.at) {
            self.take_email(start, end);
        }
    }

    /// Whether an e-mail address goes on behind `end`; takes it out then.
    pub(super) fn email_through(&mut self, end: usize) -> bool {
        let at = self.run_while(end, is_local);
        if self.byte(at) != b'@' || at - end > 64 {
            return false;
        }
        let Some((start, end)) = self.email_at(at) else {
            return false;
        };
        self.take_email(start, end);
        true
    }

    fn take_email(&mut self, start: usize, end: usize) {
        let mut lower = self.scanner.borrow();
        lower.extend(
            self.text.get(start..end).unwrap_or_default().iter().map(u8::to_ascii_lowercase),
        );
        self.hit(start, end, Class::Email, Some(&lower));
        self.scanner.give_back(lower);
    }

    fn email_at(&self, at: usize) -> Option<(usize, usize)> {
        let start = self.run_before(at, self.floor(), is_local);
        let mut end = self.run_while(at + 1, is_domain);
        while matches!(self.before(end), b'.' | b'-') && end > at + 1 {
            end -= 1;
        }
        let domain = self.text.get(at + 1..end)?;
        let dot = memchr::memrchr(b'.', domain)?;
        let top = domain.get(dot + 1..)?;
        let ok = top.len() >= 2 && top.iter().any(|c| !c.is_ascii_digit()) && dot > 0;
        (ok && start < at).then_some((start, end))
    }

    /// An IPv4 address that begins at `start`; whether it was taken out.
    ///
    /// Also steps over one that is kept, so that it is not read as a number.
    pub(super) fn ipv4(&mut self, start: usize) -> bool {
        let end = self.run_while(start, |c| c.is_ascii_digit() || c == b'.');
        let Some(text) = self.text.get(start..end) else {
            return false;
        };
        let text = text.strip_suffix(b".").unwrap_or(text);
        let Some(ip) = str::from_utf8(text).ok().and_then(|t| t.parse::<Ipv4Addr>().ok()) else {
            return false;
        };
        let end = start + text.len();
        self.at = end;
        if self.scanner.ips && !ip.is_loopback() && !ip.is_unspecified() {
            self.hit(start, end, Class::Ip, Some(text));
        }
        true
    }

    /// An IPv6 address around the colon at which the pass stands.
    pub(super) fn ipv6(&mut self) -> bool {
        let near = |c: u8| c.is_ascii_hexdigit() || c == b':';
        if !self.scanner.ips || !near(self.byte(self.at + 1)) {
            return false;
        }
        let start = self.run_before(self.at, self.floor(), near);
        let end = self.run_while(self.at, |c| near(c) || c == b'.');
        if !(3..=45).contains(&(end - start)) {
            return false;
        }
        let text = self.text.get(start..end).unwrap_or_default();
        let text = text.strip_suffix(b".").unwrap_or(text);
        let Some(ip) = str::from_utf8(text).ok().and_then(|t| t.parse::<Ipv6Addr>().ok()) else {
            return false;
        };
        if ip.is_loopback() || ip.is_unspecified() {
            return false;
        }
        self.hit(start, start + text.len(), Class::Ip, Some(text));
        true
    }

    /// `://user:password@` in a URL, from the colon on.
    pub(super) fn url(&mut self) -> bool {
        let start = self.at + 3;
        let end = self.run_while(start, |c| {
            !c.is_ascii_whitespace()
                && !matches!(c, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>')
        });
        let Some(authority) = self.text.get(start..end) else {
            return false;
        };
        if let Some(at) = memchr::memrchr(b'@', authority) {
            self.hit(start, start + at, Class::Secret, None);
            return true;
        }
        if is_media_host(authority) {
            let stop = |c: u8| {
                c.is_ascii_whitespace() || matches!(c, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`')
            };
            let past = self.run_while(end, |c| !stop(c));
            if past > end {
                self.hit(end, past, Class::Media, None);
                return true;
            }
        }
        false
    }
}
