use super::*;
use crate::entropy::tests::CountingEntropy;
use proptest::prelude::*;

const PLACE: Place<'_> = Place {
    origin: "wa/prod/gateway-0",
    incarnation: "20261122T095900Z-5f0c2a91",
    seq: 183_220,
    pointer: "/source/path",
};
const KID: &str = "Zm9vYmFy";
/// Made with the Python package `cryptography`: key 00…1f, nonce a0…ab, the
/// value `"/var/log/wä.log"`, the additional data laid out by hand.
const VECTOR: &str = "enc1.Zm9vYmFy.oKGio6SlpqeoqaqrxDcKTDfkbtAFSvAQo1SssReOxQU_rA2eF2ykSkg56JZV-Q";

fn key(kid: &str) -> FieldKey {
    let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    FieldKey::new(kid, Secret::from(secret)).unwrap()
}

fn sealed(key: &FieldKey, place: &Place<'_>, value: &[u8], entropy: &mut dyn Entropy) -> String {
    let mut out = Vec::new();
    key.seal(place, value, entropy, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn opened(key: &FieldKey, place: &Place<'_>, token: &str) -> Result<Vec<u8>, OpenError> {
    key.open(place, &Token::parse(token)?).map(|value| value.to_vec())
}

#[test]
fn it_is_what_another_implementation_makes() {
    let value = "\"/var/log/wä.log\"".as_bytes();
    assert_eq!(sealed(&key(KID), &PLACE, value, &mut CountingEntropy(0xa0)), VECTOR);
    assert_eq!(opened(&key(KID), &PLACE, VECTOR), Ok(value.to_vec()));
    assert_eq!(Token::parse(VECTOR).unwrap().kid(), KID);
}

#[test]
fn a_token_opens_in_its_own_place_alone() {
    let moved = [
        Place { origin: "wa/prod/gateway-1", ..PLACE },
        Place { incarnation: "20261122T095900Z-5f0c2a92", ..PLACE },
        Place { seq: 183_221, ..PLACE },
        Place { pointer: "/source", ..PLACE },
        Place { pointer: "/path", ..PLACE },
        // The same bytes with the border between two names elsewhere.
        Place { origin: "wa/prod/gateway-02", incarnation: "0261122T095900Z-5f0c2a91", ..PLACE },
    ];
    for place in moved {
        assert_eq!(opened(&key(KID), &place, VECTOR), Err(OpenError::Refused), "{place:?}");
    }
    assert_eq!(opened(&key("Zm9vYmFz"), &PLACE, VECTOR), Err(OpenError::OtherKey));
    // The same key under another id: the id is authenticated too.
    let renamed = VECTOR.replace("Zm9vYmFy", "Zm9vYmFz");
    assert_eq!(opened(&key("Zm9vYmFz"), &PLACE, &renamed), Err(OpenError::Refused));
    let other = FieldKey::new(KID, Secret::from([9; 32])).unwrap();
    assert_eq!(opened(&other, &PLACE, VECTOR), Err(OpenError::Refused));
}

#[test]
fn every_changed_character_is_refused() {
    for (at, c) in VECTOR.char_indices() {
        for other in ['A', 'z', '7', '-', '_', '.', '=', '+', ' '] {
            if other == c {
                continue;
            }
            let mut text = VECTOR.to_owned();
            text.replace_range(at..=at, &other.to_string());
            assert!(opened(&key(KID), &PLACE, &text).is_err(), "{text}");
        }
    }
    for end in 0..VECTOR.len() {
        assert!(opened(&key(KID), &PLACE, &VECTOR[..end]).is_err(), "{end}");
    }
    for more in ["A", "=", "AAAA", " ", "\n"] {
        assert!(opened(&key(KID), &PLACE, &format!("{VECTOR}{more}")).is_err(), "{more:?}");
    }
    for bad in ["", "enc1.", "enc1.Zm9vYmFy", "enc1.Zm9vYmFy.", "enc2.Zm9vYmFy.AAAA", "enc1..AAAA"]
    {
        assert_eq!(Token::parse(bad), Err(OpenError::NoToken), "{bad:?}");
    }
}

#[test]
fn what_claims_to_be_a_token_is_found() {
    assert_eq!(find(VECTOR), Some(0));
    assert_eq!(find(&format!("enc1. or enc1.abc.x, then {VECTOR}")), Some(26));
    assert_eq!(find("enc1.Zm9vYmFy.x"), Some(0), "cut short, but meant as one");
    for none in ["", "enc1.", "about enc1. tokens", "enc1.Zm9vYmFyZ.AAAA"] {
        assert_eq!(find(none), None, "{none}");
    }
}

#[test]
fn a_key_that_is_used_up_seals_no_more() {
    let key = key(KID);
    key.uses.store(MAX_USES - 1, Relaxed);
    let mut out = Vec::new();
    key.seal(&PLACE, b"1", &mut CountingEntropy(0), &mut out).unwrap();
    let before = out.clone();
    for _ in 0..3 {
        let refused = key.seal(&PLACE, b"1", &mut CountingEntropy(0), &mut out);
        assert_eq!(refused, Err(SealError::WornOut));
    }
    assert_eq!((out, key.uses()), (before, MAX_USES));
}

#[test]
fn names_that_sixteen_bits_cannot_count_are_refused_and_keys_are_not_shown() {
    let long = "x".repeat(65_536);
    let place = Place { pointer: &long, ..PLACE };
    let mut out = Vec::new();
    let refused = key(KID).seal(&place, b"1", &mut CountingEntropy(0), &mut out);
    assert_eq!((refused, out.len()), (Err(SealError::TooLong), 0));
    assert_eq!(format!("{:?}", key(KID)), "FieldKey(Zm9vYmFy)");
    for bad in ["", "Zm9vYmF", "Zm9vYmFyZ", "Zm9vYmF.", "Zm9vYm/y"] {
        assert!(FieldKey::new(bad, Secret::from([1; 32])).is_none(), "{bad}");
    }
    let made = FieldKey::generate(&mut CountingEntropy(7)).unwrap();
    assert!(is_field_key_id(made.kid()), "{}", made.kid());
}

proptest! {
    #[test]
    fn any_value_comes_back_from_its_place_and_from_no_other(
        value in proptest::collection::vec(any::<u8>(), 0..300),
        seq: u64,
        pointer in "(/[a-z~0-9]{0,9}){0,4}",
        other in "(/[a-z~0-9]{0,9}){0,4}",
        noise in any::<u8>(),
    ) {
        let key = key(KID);
        let place = Place { seq, pointer: &pointer, ..PLACE };
        let token = sealed(&key, &place, &value, &mut CountingEntropy(noise));
        prop_assert_eq!(opened(&key, &place, &token), Ok(value));
        let elsewhere = Place { pointer: &other, ..place };
        prop_assert_eq!(opened(&key, &elsewhere, &token).is_ok(), other == pointer);
        let later = Place { seq: seq.wrapping_add(1), ..place };
        prop_assert_eq!(opened(&key, &later, &token), Err(OpenError::Refused));
    }

    #[test]
    fn nothing_that_is_read_as_a_token_panics(text in "(enc1\\.)?[A-Za-z0-9_.=-]{0,80}") {
        let _ = opened(&key(KID), &PLACE, &text);
        let _ = find(&text);
    }
}
