//! `key=value`, `key: value` and `"key":"value"` in text: the key decides.

use super::super::stats::Class;
use super::super::token::Digits;
use super::pass::Pass;

/// What a key says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum KeyClass {
    /// Never to be kept.
    Secret,
    /// Message content or a name.
    Content,
    /// The same, but too common a word to count without `=` or quotes.
    ContentWord,
    /// A phone number, valid or not.
    Phone,
    /// A number that is no phone number.
    Kept,
}

/// The class of a key, whatever its case and its `_`, `-` and `.`.
pub(in super::super) fn classify(key: &[u8]) -> Option<KeyClass> {
    let mut lower = [0; 32];
    let mut len = 0;
    for &c in key.iter().filter(|c| !matches!(c, b'_' | b'-' | b'.' | b' ')) {
        // Of a long key its end matters.
        if len == lower.len() {
            lower.rotate_left(1);
            len -= 1;
        }
        if let Some(to) = lower.get_mut(len) {
            *to = c.to_ascii_lowercase();
            len += 1;
        }
    }
    by_name(lower.get(..len)?)
}

fn by_name(key: &[u8]) -> Option<KeyClass> {
    use KeyClass::{Content, ContentWord, Kept, Phone};
    Some(match key {
        b"body"
        | b"caption"
        | b"pushname"
        | b"notifyname"
        | b"verifiedname"
        | b"chatname"
        | b"sendername"
        | b"firstname"
        | b"lastname"
        | b"fullname"
        | b"formattedname"
        | b"messagebody"
        | b"vcard"
        | b"displayname"
        | b"profilename"
        | b"conversation"
        | b"latitude"
        | b"longitude"
        | b"emoji"
        | b"responsejson"
        | b"bizopaquecallbackdata"
        | b"contactname"
        | b"customername"
        | b"groupname"
        | b"middlename"
        | b"nickname" => Content,
        b"text" | b"message" | b"name" | b"subject" | b"username" | b"payload" | b"lat"
        | b"lng" | b"lon" | b"address" | b"content" | b"description" | b"street" | b"birthday"
        | b"filename" | b"title" => ContentWord,
        b"from"
        | b"to"
        | b"waid"
        | b"phone"
        | b"phonenumber"
        | b"msisdn"
        | b"recipient"
        | b"recipientid"
        | b"sender"
        | b"mobile"
        | b"tel"
        | b"telephone"
        | b"number"
        | b"remotejid"
        | b"jid"
        | b"participant"
        | b"senderpn"
        | b"cleanedsenderpn"
        | b"input"
        | b"customer"
        | b"newwaid"
        | b"caller"
        | b"callee"
        | b"chatid"
        | b"displayphonenumber"
        | b"whatsapp"
        | b"cell"
        | b"user"
        | b"contact"
        | b"fromnumber"
        | b"tonumber"
        | b"recipientparticipantid"
        | b"debuginfo"
        | b"wid" => Phone,
        b"phonenumberid" | b"wabaid" | b"businessaccountid" | b"timestamp" | b"time" | b"ts"
        | b"pid" | b"tid" | b"thread" | b"port" | b"bytes" | b"size" | b"len" | b"length"
        | b"offset" | b"count" | b"duration" => Kept,
        _ => return suffix(key),
    })
}

/// Keys whose end says enough: `db_password`, `x-api-key`, `free_space_logs`.
fn suffix(key: &[u8]) -> Option<KeyClass> {
    const SECRET: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "passwort",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "signingkey",
        "secretaccesskey",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "pwd",
        "mediakey",
        "qrcode",
        "invitelink",
        "sessionkey",
        "otp",
        "passcode",
        "pincode",
        "authkey",
        "licensekey",
        "clientkey",
        "encryptionkey",
    ];
    const EXACT: &[&str] = &["pass", "pin", "qr", "key2", "pw", "auth", "jwt", "cvv", "cvc"];
    let ends = |s: &&str| key.ends_with(s.as_bytes());
    if SECRET.iter().any(&ends) || EXACT.iter().any(|s| key == s.as_bytes()) {
        return Some(KeyClass::Secret);
    }
    let kept = ["bytes", "size", "offset", "millis", "timestamp", "durationms"].iter().any(ends);
    let space = memchr::memmem::find(key, b"freespace").is_some();
    (kept || space).then_some(KeyClass::Kept)
}

fn is_key(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
}

impl Pass<'_> {
    /// `=` or `:`: looks at the key before it and settles the value behind it.
    pub(super) fn separator(&mut self, sign: u8) {
        if sign == b':' {
            if self.rest(self.at).starts_with(b"://") {
                self.url();
                return;
            }
            if self.byte(self.at + 1) == b':' && !self.before(self.at).is_ascii_hexdigit() {
                self.ipv6();
                return;
            }
        }
        let Some((class, quoted_key)) = self.key_before() else {
            if sign == b':' {
                self.ipv6();
            }
            return;
        };
        let mut value = self.at + 1;
        if sign == b'=' && self.byte(value) == b'>' {
            value += 1;
        }
        value = self.run_while(value, |c| c == b' ');
        let quote = self.quote_at(value);
        match class {
            KeyClass::Secret => self.drop_value(value, quote, Class::Secret),
            KeyClass::Phone => self.phone_value(value, quote),
            KeyClass::Kept => {
                let end = self.run_while(value, |c| c.is_ascii_digit() || c == b'"' || c == b'\\');
                self.kept_until = end;
            }
            // The mask-only profile keeps content.
            KeyClass::Content | KeyClass::ContentWord if self.scanner.bare => {}
            KeyClass::Content => self.drop_value(value, quote, Class::Content),
            KeyClass::ContentWord => {
                let object = self.byte(value) == b'{';
                if sign == b'=' || quoted_key || quote.is_some() || object {
                    self.drop_value(value, quote, Class::Content);
                }
            }
        }
    }

    /// The class of the key before the sign, and whether it stands in quotes.
    fn key_before(&self) -> Option<(KeyClass, bool)> {
        let floor = self.floor().max(self.at.saturating_sub(80));
        let end = self.run_before(self.at, floor, |c| c == b' ');
        let inner =
            self.run_before(end, floor, |c| matches!(c, b'"' | b'\'' | b'\\' | b']' | b')'));
        if !self.before(inner).is_ascii_alphanumeric() {
            return None;
        }
        let start = self.run_before(inner, floor, is_key);
        let key = self.text.get(start..inner)?;
        // `a.b.password`: the last part counts, unless only the whole is known.
        let last = memchr::memrchr(b'.', key).and_then(|i| key.get(i + 1..));
        let class = classify(key).or_else(|| classify(last?))?;
        Some((class, inner != end))
    }

    /// The opening quote at `at`: the quote, and how many backslashes before it.
    fn quote_at(&self, at: usize) -> Option<(u8, usize)> {
        let slashes = self.run_while(at, |c| c == b'\\') - at;
        let quote = self.byte(at + slashes);
        matches!(quote, b'"' | b'\'' | b'`').then_some((quote, slashes))
    }

    /// The end of the quoted text that begins at `from`: at its closing quote.
    fn quoted_end(&self, from: usize, quote: u8, slashes: usize) -> usize {
        let mut at = from;
        while let Some(i) = memchr::memchr(quote, self.rest(at)) {
            let found = at + i;
            let before = found - self.run_before(found, from, |c| c == b'\\');
            if before <= slashes || (slashes == 0 && before.is_multiple_of(2)) {
                return found - before;
            }
            at = found + 1;
        }
        self.text.len()
    }

    fn drop_value(&mut self, value: usize, quote: Option<(u8, usize)>, class: Class) {
        let (start, end) = match (quote, self.byte(value)) {
            (Some((quote, slashes)), _) => {
                let start = value + slashes + 1;
                (start, self.quoted_end(start, quote, slashes))
            }
            (None, b'{' | b'[') => (value, self.bracket_end(value)),
            (None, _) if class == Class::Secret => (value, self.secret_end(value)),
            (None, _) => (value, self.content_end(value)),
        };
        let text = self.text.get(start..end).unwrap_or_default();
        let nothing = text.is_empty()
            || matches!(text, b"null" | b"true" | b"false" | b"undefined" | b"None" | b"-");
        if !nothing {
            self.hit(start, end, class, None);
        }
    }

    /// An unquoted secret: a word, two behind `Bearer`.
    fn secret_end(&self, start: usize) -> usize {
        let stop = |c: u8| {
            c.is_ascii_whitespace()
                || matches!(c, b'&' | b',' | b';' | b'"' | b'\'' | b')' | b'}' | b']' | b'<' | b'>')
        };
        let mut end = self.run_while(start, |c| !stop(c));
        let word = self.text.get(start..end).unwrap_or_default();
        if [&b"bearer"[..], b"basic", b"splunk", b"token", b"digest"]
            .iter()
            .any(|w| word.eq_ignore_ascii_case(w))
        {
            end = self.run_while(end, |c| c == b' ');
            end = self.run_while(end, |c| !stop(c));
        }
        end
    }

    /// Unquoted content: up to the next `key=`, or the end of the line.
    fn content_end(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            let end =
                self.run_while(at, |c| !matches!(c, b' ' | b'&' | b'\n' | b'\t' | b';' | b','));
            match self.byte(end) {
                0 if end >= self.text.len() => return end,
                b'\n' => return end,
                _ => {}
            }
            let next = self.run_while(end + 1, |c| c == b' ');
            let word = self.run_while(next, is_key);
            let http = self.rest(next).starts_with(b"HTTP/");
            if http
                || (word > next && self.byte(word) == b'=' && self.byte(next).is_ascii_alphabetic())
            {
                return end;
            }
            at = end + 1;
        }
    }

    /// Behind the bracket that closes the one at `start`; quotes are minded.
    fn bracket_end(&self, start: usize) -> usize {
        let (mut depth, mut at, mut quote) = (0usize, start, 0u8);
        while let Some(&c) = self.text.get(at) {
            at += 1;
            match c {
                b'\\' => at += 1,
                _ if quote != 0 && c == quote => {
                    quote = 0;
                }
                b'"' | b'\'' | b'`' => quote = c,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at;
                    }
                }
                _ => {}
            }
        }
        self.text.len()
    }

    /// A number under a phone's key is one, valid or not.
    fn phone_value(&mut self, value: usize, quote: Option<(u8, usize)>) {
        let start = value + quote.map_or(0, |(_, slashes)| slashes + 1);
        let first = start + usize::from(self.byte(start) == b'+');
        let end = self.run_while(first, |c| c.is_ascii_digit());
        // JIDs, formatted numbers, e-mail and IP addresses have their own rules.
        let more = matches!(self.byte(end), b'@' | b'.' | b'-' | b':' | b'_' | b' ' | b'(' | b'%')
            && (self.byte(end + 1).is_ascii_alphanumeric() || self.byte(end + 1) == b'(');
        let spaced = self.byte(end) == b' ' && quote.is_none();
        if (5..=20).contains(&(end - first)) && (!more || spaced) {
            let digits = Digits::of(self.text.get(first..end).unwrap_or_default());
            self.phone(start, end, &digits);
        } else {
            self.hint = Some(start);
        }
    }
}
