//! Secrets that show by their shape: JWTs, bearer and basic credentials, page
//! tokens, cloud keys, private keys.

use super::super::stats::Class;
use super::pass::{Pass, Word};

fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-')
}

impl Pass<'_> {
    /// A word that begins a secret.
    pub(super) fn secret_word(&mut self, word: Word) -> bool {
        let rest = self.rest(word.start);
        let jwt = rest.starts_with(b"eyJ");
        let page = rest.starts_with(b"EAA") && word.len() >= 20;
        let aws = (rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA")) && word.len() == 20;
        let vendor =
            [&b"sk_live_"[..], b"sk_test_", b"ghp_", b"gho_", b"xoxb-", b"xoxp-", b"glpat-"]
                .iter()
                .any(|p| rest.starts_with(p));
        let end = self.run_while(word.start, is_token);
        if page || aws || ((jwt || vendor) && end - word.start >= 16) {
            let end = if aws { word.end } else { end };
            self.hit(word.start, end, Class::Secret, None);
            return true;
        }
        let text = self.text.get(word.start..word.end).unwrap_or_default();
        let bearer = text.eq_ignore_ascii_case(b"bearer");
        if bearer || text.eq_ignore_ascii_case(b"basic") {
            return self.credential(word.end);
        }
        false
    }

    /// What stands behind `Bearer` or `Basic`.
    fn credential(&mut self, end: usize) -> bool {
        let start = self.run_while(end, |c| matches!(c, b' ' | b'+' | b':'));
        // A space may be percent-encoded.
        let start = if self.rest(end).starts_with(b"%20") { end + 3 } else { start };
        let stop = self.run_while(start, is_token);
        if start == end || stop - start < 6 {
            return false;
        }
        self.hit(start, stop, Class::Secret, None);
        true
    }

    /// `-----BEGIN … PRIVATE KEY-----` to its end, or the end of the text.
    pub(super) fn private_key(&mut self) {
        let rest = self.rest(self.at);
        if !rest.starts_with(b"-----BEGIN ") {
            return;
        }
        let head = rest.get(..rest.len().min(48)).unwrap_or_default();
        if memchr::memmem::find(head, b"PRIVATE KEY").is_none() {
            return;
        }
        let body = rest.get(11..).unwrap_or_default();
        let end = memchr::memmem::find(body, b"-----END ").map_or(rest.len(), |i| {
            let tail = body.get(i + 9..).unwrap_or_default();
            memchr::memmem::find(tail, b"-----").map_or(rest.len(), |j| 11 + i + 9 + j + 5)
        });
        self.hit(self.at, self.at + end, Class::Secret, None);
    }
}
