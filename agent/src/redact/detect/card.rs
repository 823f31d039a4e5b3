//! Payment cards (prefix, length, Luhn) and IBANs (country, length, mod 97).

use super::super::stats::Class;
use super::pass::{Pass, Word};
use super::plan::is_phone;

/// Whether `digits` can be a card: 13–19 digits, a network's prefix, Luhn.
fn is_card(digits: &[u8]) -> bool {
    // Cards of 13 digits are of the past, numbers of 13 digits are not: what the
    // numbering plan knows is a phone, and gets its token.
    if !(13..=19).contains(&digits.len()) || is_phone(digits) {
        return false;
    }
    let head = digits.iter().take(4).fold(0u32, |n, c| n * 10 + u32::from(c - b'0'));
    let network = match head {
        4000..=4999 | 5018 | 5020 | 5038 | 5893 | 6011 | 6304 | 6759 | 6761..=6763 => true,
        5100..=5599 | 2221..=2720 | 3528..=3589 => true,
        3400..=3499 | 3700..=3799 => digits.len() == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => digits.len() == 14,
        6440..=6599 | 6200..=6299 | 6069..=6085 | 2200..=2204 | 5067 | 5090 => true,
        _ => false,
    };
    network && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, c)| {
            let d = u32::from(c - b'0') << (i & 1);
            if d > 9 { d - 9 } else { d }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The length of a country's IBANs.
fn iban_len(country: &[u8]) -> Option<usize> {
    const LENGTHS: &[(usize, &str)] = &[
        (15, "NO"),
        (16, "BE"),
        (18, "DK FO FI GL NL SD FK"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU XK MN"),
        (21, "CH HR LV LI"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ TL OM SO"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "FR GR IT MC MR SM BI DJ"),
        (28, "AL AZ BY CY DO GT HU LB PL NI SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    ];
    let country = str::from_utf8(country).ok()?;
    LENGTHS.iter().find(|(_, all)| all.split(' ').any(|c| c == country)).map(|(n, _)| *n)
}

/// ISO 7064 mod 97 over the rearranged IBAN.
fn mod97(iban: &[u8]) -> bool {
    let (head, tail) = iban.split_at(4.min(iban.len()));
    let rest = tail.iter().chain(head).fold(0u32, |n, &c| match c {
        b'0'..=b'9' => (n * 10 + u32::from(c - b'0')) % 97,
        _ => (n * 100 + u32::from(c.to_ascii_uppercase().wrapping_sub(b'A')) + 10) % 97,
    });
    rest == 1
}

impl Pass<'_> {
    /// Takes `start..end` out if `digits` are a card's.
    pub(super) fn card(&mut self, start: usize, end: usize, digits: &[u8]) -> bool {
        let card = is_card(digits);
        if card {
            self.hit(start, end, Class::Card, None);
        }
        card
    }

    /// An IBAN that begins with `word`, written together or in fours.
    pub(super) fn iban(&mut self, word: Word) -> bool {
        let head = self.text.get(word.start..word.start + 4).unwrap_or_default();
        let [a, b, c, d] = *head else { return false };
        let begins = a.is_ascii_uppercase() && b.is_ascii_uppercase();
        if word.len() < 4 || !begins || !c.is_ascii_digit() || !d.is_ascii_digit() {
            return false;
        }
        let Some(len) = iban_len(&[a, b]) else {
            return false;
        };
        let mut iban = [0; 34];
        let (mut have, mut at) = (0, word.start);
        while have < len {
            let c = self.byte(at);
            if c.is_ascii_alphanumeric() {
                let Some(to) = iban.get_mut(have) else {
                    return false;
                };
                *to = c;
                have += 1;
            } else if !matches!(c, b' ' | b'-') || have % 4 != 0 {
                return false;
            }
            at += 1;
        }
        let found = !self.byte(at).is_ascii_alphanumeric() && iban.get(..len).is_some_and(mod97);
        if found {
            self.hit(word.start, at, Class::Iban, None);
        }
        found
    }
}
