//! Keyed tokens and masks.
//!
//! A token is `t1.` and 22 characters of base64url: HMAC-SHA256, cut to 128 bits
//! and a little more, under a key that the operator's token key gives for the
//! class. Phones are taken over their digits alone, so that `+1…`, a JID and
//! `from` join; everything else over its full text. A plain hash of a phone
//! number could be enumerated; this cannot, without the key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::stats::Class;

/// Length of a token in bytes.
pub const TOKEN_LEN: usize = 25;

/// Makes tokens; one precomputed HMAC state a class.
#[derive(Clone)]
pub(super) struct Tokens {
    states: [Hmac<Sha256>; Class::ALL.len()],
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let states =
            std::array::from_fn(|i| of_class(key, Class::ALL.get(i).map_or("", |c| c.name())));
        Self { states }
    }

    /// The token of `canonical` in `class`.
    pub(super) fn token(&self, class: Class, canonical: &[u8]) -> [u8; TOKEN_LEN] {
        match self.states.get(class.index()) {
            Some(state) => token(state, canonical),
            None => [b'.'; TOKEN_LEN],
        }
    }
}

/// Makes tokens of whole values, for fields that leave sealed: equal values can
/// be searched for by them. A class of its own, so none of them is a token that
/// redaction made.
#[derive(Clone)]
pub struct ValueTokens(Hmac<Sha256>);

impl std::fmt::Debug for ValueTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ValueTokens(…)")
    }
}

impl ValueTokens {
    /// Under the operator's token key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(of_class(key, "value"))
    }

    /// The token of exactly this value.
    #[must_use]
    pub fn token(&self, value: &str) -> [u8; TOKEN_LEN] {
        token(&self.0, value.as_bytes())
    }
}

/// The state under which tokens of a class are made.
fn of_class(key: &[u8; 32], class: &str) -> Hmac<Sha256> {
    let mut mac = state(key);
    mac.update(b"sealtail/token/v1/");
    mac.update(class.as_bytes());
    state(&mac.finalize().into_bytes().into())
}

fn token(state: &Hmac<Sha256>, canonical: &[u8]) -> [u8; TOKEN_LEN] {
    let mut out = [b'.'; TOKEN_LEN];
    let mut mac = state.clone();
    mac.update(canonical);
    let mut text = [0; 43];
    // 32 bytes are 43 characters: this cannot be too short.
    let _ = URL_SAFE_NO_PAD.encode_slice(mac.finalize().into_bytes(), &mut text);
    for (to, from) in out.iter_mut().zip(b"t1.".iter().chain(text.iter())) {
        *to = *from;
    }
    out
}

fn state(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key of block size or less is taken as it is: padding it here makes the
    // constructor infallible.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block)
}

/// A phone number's digits, at most 24 of them, on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits {
    digits: [u8; 24],
    len: usize,
}

impl Digits {
    /// The ASCII digits in `text`; those past the 24th are left out.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut it = Self { digits: [0; 24], len: 0 };
        for &c in text.iter().filter(|c| c.is_ascii_digit()) {
            let Some(to) = it.digits.get_mut(it.len) else {
                break;
            };
            *to = c;
            it.len += 1;
        }
        it
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// `1555****67`; `****` for fewer than ten digits.
    pub(super) fn mask(&self, out: &mut Vec<u8>) {
        let digits = self.as_slice();
        let (head, tail) = (digits.get(..4), digits.get(self.len.saturating_sub(2)..));
        match (head, tail) {
            (Some(head), Some(tail)) if self.len >= 10 => {
                out.extend_from_slice(head);
                out.extend_from_slice(b"****");
                out.extend_from_slice(tail);
            }
            _ => out.extend_from_slice(b"****"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_hmac_under_the_key_of_its_class() {
        let tokens = Tokens::new(&[7; 32]);
        let hmac = |key: &[u8], data: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(data);
            mac.finalize().into_bytes()
        };
        let key = hmac(&[7; 32], b"sealtail/token/v1/phone");
        let want = format!("t1.{}", &URL_SAFE_NO_PAD.encode(hmac(&key, b"15551234567"))[..22]);
        assert_eq!(tokens.token(Class::Phone, b"15551234567"), want.as_bytes());
        assert_ne!(tokens.token(Class::Message, b"15551234567"), want.as_bytes());
        assert!(Class::ALL.iter().all(|class| class.name() != "value"));
        let key = hmac(&[7; 32], b"sealtail/token/v1/value");
        let want = format!("t1.{}", &URL_SAFE_NO_PAD.encode(hmac(&key, b"a text"))[..22]);
        assert_eq!(ValueTokens::new(&[7; 32]).token("a text"), want.as_bytes());
    }

    #[test]
    fn the_mask_keeps_the_first_four_and_last_two() {
        let mask = |text: &str| {
            let mut out = Vec::new();
            Digits::of(text.as_bytes()).mask(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(mask("+1 555 123 4567"), "1555****67");
        assert_eq!(mask("123456789"), "****");
        assert_eq!(mask(""), "****");
    }
}
