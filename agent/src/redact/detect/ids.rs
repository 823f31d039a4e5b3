//! WhatsApp's own ids: message ids hold a number in base64 or BCD, group ids
//! their creator's, business-scoped user ids a person.

use super::super::stats::Class;
use super::pass::{Pass, Word};

fn is_id(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'_' | b'-' | b'=')
}

impl Pass<'_> {
    /// A word that begins as one of the ids, or as a known kind of secret.
    pub(super) fn special_word(&mut self, word: Word) -> bool {
        let rest = self.rest(word.start);
        match self.byte(word.start) {
            b'w' if rest.starts_with(b"wamid.") || rest.starts_with(b"wacid.") => {
                self.id(word.start, self.run_while(word.start + 6, is_id), Class::Message)
            }
            b'A' if rest.starts_with(b"ABGG") => self.long_id(word, 12, Class::Message),
            b'g' if rest.starts_with(b"gBGG") || rest.starts_with(b"gBEG") => {
                self.long_id(word, 12, Class::Message)
            }
            b'H' if rest.starts_with(b"HBg") => self.long_id(word, 12, Class::Message),
            b'Y' if rest.starts_with(b"Y2FwaV9ncm91cD") => self.long_id(word, 14, Class::Group),
            b'e' | b'E' | b'A' | b'B' | b'b' | b's' | b'g' | b'x' => self.secret_word(word),
            _ if word.len() == 2 && word.upper == 2 && self.byte(word.end) == b'.' => {
                self.user_id(word)
            }
            _ => false,
        }
    }

    fn long_id(&mut self, word: Word, least: usize, class: Class) -> bool {
        let end = self.run_while(word.start, is_id);
        end - word.start >= least && self.id(word.start, end, class)
    }

    fn id(&mut self, start: usize, end: usize, class: Class) -> bool {
        let id = self.text.get(start..end).unwrap_or_default();
        self.hit(start, end, class, Some(id));
        true
    }

    /// `US.13491208655302741918`, `US.ENT.1181…`.
    fn user_id(&mut self, word: Word) -> bool {
        let parent = self.rest(word.end).starts_with(b".ENT.");
        let first = word.end + if parent { 5 } else { 1 };
        let end = self.run_while(first, |c| c.is_ascii_alphanumeric());
        let long = end - first >= 6;
        let digit = self.byte(first).is_ascii_digit();
        long && digit && self.id(word.start, end, Class::User)
    }
}
