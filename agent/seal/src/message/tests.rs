use super::*;
use crate::entropy::tests::CountingEntropy;

fn context() -> Context {
    Context::from_pairs([("audit:v", "1".to_owned()), ("audit:origin", "wa/prod".to_owned())])
        .unwrap()
}

fn aes() -> Vec<Recipient> {
    vec![Recipient::aes("dev", [4; 32])]
}

fn seal(plaintext: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut encryptor = Encryptor::new(&context(), recipients).unwrap();
    let mut out = Vec::new();
    encryptor.header(&mut out);
    encryptor.update(plaintext, &mut out).unwrap();
    encryptor.finish(&mut out).unwrap();
    out
}

fn open(message: &[u8], chunk: usize) -> Result<Vec<u8>, DecryptError> {
    let mut decryptor =
        Decryptor::new(vec![Identity::aes("other", [9; 32]), Identity::aes("dev", [4; 32])]);
    let mut out = Vec::new();
    for part in message.chunks(chunk.max(1)) {
        decryptor.update(part, &mut out)?;
    }
    decryptor.finish()?;
    assert_eq!(decryptor.context(), Some(&context()));
    Ok(out)
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[test]
fn every_length_around_the_frame_edge_opens_in_any_chunks() {
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let message = seal(&text(len), &aes());
        for chunk in [7_001, 65_536, usize::MAX] {
            assert_eq!(open(&message, chunk), Ok(text(len)), "{len} bytes in chunks of {chunk}");
        }
    }
}

#[test]
fn an_rsa_recipient_opens_it_and_the_sender_does_not() {
    let (private, public) = crate::keys::generate_archive_pair().unwrap();
    let message = seal(b"for the auditor", &[Recipient::rsa(&public).unwrap()]);
    let mut decryptor = Decryptor::new(vec![Identity::rsa(&private).unwrap()]);
    let mut out = Vec::new();
    decryptor.update(&message, &mut out).unwrap();
    decryptor.finish().unwrap();
    assert_eq!(out, b"for the auditor");
    assert_eq!(open(&message, 100), Err(DecryptError::NotForUs));
}

#[test]
fn every_flipped_bit_is_refused() {
    let message = seal(b"short", &aes());
    for at in 0..message.len() {
        let mut bad = message.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(open(&bad, 64).is_err(), "byte {at}");
    }
}

#[test]
fn truncation_at_every_byte_and_trailing_bytes_are_refused() {
    let message = seal(&text(70_000), &aes());
    for at in (0..message.len()).rev().step_by(997).chain([message.len() - 1]) {
        assert_eq!(open(&message[..at], 4096), Err(DecryptError::Truncated), "{at}");
    }
    // Exactly at the edge of the first frame.
    let final_len = 4 + 4 + 12 + 4 + (70_000 - 65_536) + 16;
    assert_eq!(open(&message[..message.len() - final_len], 4096), Err(DecryptError::Truncated));
    let mut longer = message;
    longer.push(0);
    assert_eq!(open(&longer, 4096), Err(DecryptError::Trailing));
}

#[test]
fn swapped_frames_are_refused() {
    let message = seal(&text(3 * 65_536), &aes());
    let frame = 4 + 12 + 65_536 + 16;
    let final_len = 4 + 4 + 12 + 4 + 65_536 + 16;
    let first = message.len() - final_len - 2 * frame;
    let mut swapped = message[..first].to_vec();
    swapped.extend_from_slice(&message[first + frame..first + 2 * frame]);
    swapped.extend_from_slice(&message[first..first + frame]);
    swapped.extend_from_slice(&message[first + 2 * frame..]);
    assert_eq!(open(&swapped, 4096), Err(DecryptError::Frame(1)));
    // A frame of another message under the same recipient.
    let other = seal(&text(3 * 65_536), &aes());
    let mut mixed = message[..first].to_vec();
    mixed.extend_from_slice(&other[first..]);
    assert_eq!(open(&mixed, 4096), Err(DecryptError::Frame(1)));
}

#[test]
fn a_changed_context_or_commitment_is_refused() {
    let message = seal(b"x", &aes());
    let find = |needle: &[u8]| message.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut bad = message.clone();
    bad[find(b"wa/prod")] = b'x';
    assert!(matches!(open(&bad, 64), Err(DecryptError::DataKey)));
    let final_len = 4 + 4 + 12 + 4 + 1 + 16;
    let mut bad = message.clone();
    let at = message.len() - final_len - TAG_LEN - 1;
    bad[at] ^= 1;
    assert_eq!(open(&bad, 64), Err(DecryptError::Commitment));
    let mut bad = message.clone();
    let at = message.len() - final_len - 1;
    bad[at] ^= 1;
    assert_eq!(open(&bad, 64), Err(DecryptError::Header));
}

#[test]
fn nobody_to_seal_to_is_an_error() {
    assert_eq!(Encryptor::new(&context(), &[]).unwrap_err(), EncryptError::NoRecipient);
}

#[test]
fn a_message_that_no_reader_would_take_is_not_written() {
    let mut many: Vec<_> = (0..65).map(|i| Recipient::aes(&i.to_string(), [4; 32])).collect();
    assert_eq!(Encryptor::new(&context(), &many).unwrap_err(), EncryptError::HeaderTooLong);
    many.truncate(63);
    many.extend(aes());
    assert!(open(&seal(b"x", &many), 64).is_ok());
    let long = [Recipient::aes(&"n".repeat(70_000), [4; 32])];
    assert_eq!(Encryptor::new(&context(), &long).unwrap_err(), EncryptError::HeaderTooLong);
    assert_eq!(Context::from_pairs([("k", "v".repeat(16_384))]), Err(ContextError));
}

#[test]
fn limits_of_the_header_are_named_before_more_is_waited_for() {
    let head = |rest: &[u8]| [&[2, 4, 0x78][..], &[7; 32], rest].concat();
    for (bytes, expected) in [
        (vec![1], DecryptError::Unsupported),
        (vec![2, 5, 0x78], DecryptError::Suite(0x0578)),
        (head(&[0x40, 1]), DecryptError::ContextTooLong(0x4001)),
        (head(&[0, 0, 0, 65]), DecryptError::TooManyKeys(65)),
        (head(&[0, 0, 0, 0]), DecryptError::Malformed),
        (head(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]), DecryptError::Unsupported),
        (head(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), DecryptError::FrameLen(0)),
        (head(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0, 1]), DecryptError::FrameLen(1_048_577)),
        (head(&[0, 3, 0, 0, 0, 0, 1]), DecryptError::Malformed),
    ] {
        assert_eq!(open(&bytes, 1), Err(expected));
    }
    // Endless keys: given up at 64 KiB.
    let endless = [head(&[0, 0, 0, 64]), vec![0xff; 200_000]].concat();
    assert_eq!(open(&endless, 4096), Err(DecryptError::Malformed));
}

#[test]
fn a_small_message_opens_byte_by_byte_and_a_big_one_at_once() {
    assert_eq!(open(&seal(b"short", &aes()), 1), Ok(b"short".to_vec()));
    // Many frames in one call: what is used is not moved once a frame.
    let big = text(40 * 65_536 + 5);
    assert_eq!(open(&seal(&big, &aes()), usize::MAX), Ok(big));
}

#[test]
fn an_error_is_final_and_gives_nothing_out() {
    let mut message = seal(&text(70_000), &aes());
    let last = message.len() - 1;
    message[last] ^= 1;
    let mut decryptor = Decryptor::new(vec![Identity::aes("dev", [4; 32])]);
    let mut out = Vec::new();
    assert_eq!(decryptor.update(&message, &mut out), Err(DecryptError::Frame(2)));
    assert_eq!(out, text(65_536), "only the frame that is authentic");
    assert_eq!(decryptor.update(&[], &mut out), Err(DecryptError::Frame(2)));
    assert_eq!(decryptor.finish(), Err(DecryptError::Frame(2)));
    assert_eq!(decryptor.context(), None);
}

#[test]
fn a_key_wrapped_to_another_holder_of_the_same_name_is_told_from_a_stranger() {
    let same_name = seal(b"x", &[Recipient::aes("dev", [5; 32])]);
    assert_eq!(open(&same_name, 64), Err(DecryptError::DataKey));
    let stranger = seal(b"x", &[Recipient::aes("else", [4; 32])]);
    assert_eq!(open(&stranger, 64), Err(DecryptError::NotForUs));
    // Beside one of ours that opens, it does not matter.
    let both = [Recipient::aes("dev", [5; 32]), Recipient::aes("dev", [4; 32])];
    assert_eq!(open(&seal(b"x", &both), 64), Ok(b"x".to_vec()));
}

#[test]
fn a_data_key_of_somebody_else_is_caught_by_the_commitment() {
    // Key and wrapped key do not belong together: what a key service that
    // answers for another message would give.
    let mut entropy = CountingEntropy(0);
    let wrapped = aes()[0].wrap(&DataKey::from([1; 32]), &context(), &mut entropy).unwrap();
    let made = |key: [u8; 32]| {
        let encryptor =
            Encryptor::with_data_key(&context(), &DataKey::from(key), vec![wrapped.clone()])
                .unwrap();
        let mut out = Vec::new();
        encryptor.header(&mut out);
        encryptor.finish(&mut out).unwrap();
        out
    };
    assert_eq!(open(&made([1; 32]), 64), Ok(Vec::new()));
    assert_eq!(open(&made([2; 32]), 64), Err(DecryptError::Commitment));
}

#[test]
fn the_bytes_are_the_same_as_ever() {
    // A change here is a change of the format: it would need a reader for both.
    let mut encryptor = Encryptor::new_with(&context(), &aes(), &mut CountingEntropy(0)).unwrap();
    let mut message = Vec::new();
    encryptor.header(&mut message);
    encryptor.update(b"{\"seq\":1}\n", &mut message).unwrap();
    encryptor.finish(&mut message).unwrap();
    let hex: String = message.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, include_str!("testdata/aes-v2-0478.hex").trim_end());
    assert_eq!(open(&message, 7), Ok(b"{\"seq\":1}\n".to_vec()));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]

    #[test]
    fn chunks_of_any_size_give_the_same_as_one(
        len in 0_usize..200_000,
        writes in proptest::collection::vec(1_usize..90_000, 1..6),
        reads in proptest::collection::vec(1_usize..90_000, 1..6),
    ) {
        let plain = text(len);
        let make = |sizes: &[usize]| {
            let mut encryptor =
                Encryptor::new_with(&context(), &aes(), &mut CountingEntropy(9)).unwrap();
            let mut out = Vec::new();
            encryptor.header(&mut out);
            let (mut rest, mut sizes) = (&plain[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                encryptor.update(now, &mut out).unwrap();
                rest = later;
            }
            encryptor.finish(&mut out).unwrap();
            out
        };
        let message = make(&writes);
        proptest::prop_assert_eq!(&message, &make(&[usize::MAX]));
        let mut decryptor = Decryptor::new(vec![Identity::aes("dev", [4; 32])]);
        let (mut out, mut rest) = (Vec::new(), &message[..]);
        for size in reads.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*size));
            decryptor.update(now, &mut out).unwrap();
            rest = later;
            if rest.is_empty() { break; }
        }
        decryptor.finish().unwrap();
        proptest::prop_assert_eq!(out, plain);
    }
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let head = [&[2, 4, 0x78][..], &bytes].concat();
        drop(open(&bytes, 50));
        drop(open(&head, 50));
    }
}

mod wycheproof_vectors {
    //! Project Wycheproof against the very primitives that the format uses.
    use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
    use aes_gcm::{Aes256Gcm, Nonce};
    use wycheproof::TestResult;

    #[test]
    fn aes_256_gcm() {
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
        let mut seen = 0;
        for group in set
            .test_groups
            .iter()
            .filter(|g| g.key_size == 256 && g.nonce_size == 96 && g.tag_size == 128)
        {
            for test in &group.tests {
                seen += 1;
                let key: [u8; 32] = test.key[..].try_into().unwrap();
                let iv: [u8; 12] = test.nonce[..].try_into().unwrap();
                let cipher = Aes256Gcm::new((&key).into());
                let sealed = [&test.ct[..], &test.tag[..]].concat();
                let opened =
                    cipher.decrypt(&Nonce::from(iv), Payload { msg: &sealed, aad: &test.aad });
                match test.result {
                    TestResult::Invalid => assert!(opened.is_err(), "{}", test.tc_id),
                    _ => {
                        assert_eq!(opened.unwrap(), test.pt[..], "{}", test.tc_id);
                        let made = cipher
                            .encrypt(&Nonce::from(iv), Payload { msg: &test.pt, aad: &test.aad });
                        assert_eq!(made.unwrap(), sealed, "{}", test.tc_id);
                    }
                }
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn hkdf_sha_512() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha512).unwrap();
        let mut seen = 0;
        for test in set.test_groups.iter().flat_map(|g| &g.tests) {
            seen += 1;
            let mut out = vec![0; test.size];
            let ok = hkdf::Hkdf::<sha2::Sha512>::new(Some(&test.salt), &test.ikm)
                .expand(&test.info, &mut out)
                .is_ok();
            assert_eq!(
                ok && out == test.okm[..],
                test.result != TestResult::Invalid,
                "{}",
                test.tc_id
            );
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn ed25519() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut seen = 0;
        for group in &set.test_groups {
            let public: [u8; 32] = group.key.pk[..].try_into().unwrap();
            for test in &group.tests {
                seen += 1;
                let verified =
                    crate::keys::VerifyingKey::from_bytes(&public).ok().is_some_and(|key| {
                        test.sig[..]
                            .try_into()
                            .is_ok_and(|sig: [u8; 64]| key.verify(&test.msg, &sig))
                    });
                assert_eq!(verified, test.result != TestResult::Invalid, "{}", test.tc_id);
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn rsa_oaep_3072_sha256() {
        use aws_lc_rs::rsa::{
            OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
        };
        let set = wycheproof::rsa_oaep::TestSet::load(
            wycheproof::rsa_oaep::TestName::Rsa3072Sha256Mgf1Sha256,
        )
        .unwrap();
        let mut seen = 0;
        for group in &set.test_groups {
            let key = PrivateDecryptingKey::from_pkcs8(&group.pkcs8).unwrap();
            let key = OaepPrivateDecryptingKey::new(key).unwrap();
            for test in &group.tests {
                seen += 1;
                let mut buf = vec![0; key.min_output_size()];
                let label = (!test.label.is_empty()).then_some(&test.label[..]);
                let opened = key.decrypt(&OAEP_SHA256_MGF1SHA256, &test.ct, &mut buf, label);
                match test.result {
                    TestResult::Invalid => assert!(opened.is_err(), "{}", test.tc_id),
                    _ => assert_eq!(opened.unwrap(), &test.pt[..], "{}", test.tc_id),
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }
}

/// As with KMS: the key is made, wrapped and unwrapped by somebody else.
#[test]
fn a_key_that_was_unwrapped_elsewhere_opens_its_message_and_no_other() {
    let wrapped = EncryptedDataKey {
        provider_id: KMS_PROVIDER.to_owned(),
        provider_info: b"arn:aws:kms:eu-central-1:123456789012:key/k".to_vec(),
        ciphertext: vec![1; 96],
    };
    let key = || DataKey::from([7; 32]);
    let encryptor = Encryptor::with_data_key(&context(), &key(), vec![wrapped.clone()]).unwrap();
    let mut message = Vec::new();
    encryptor.header(&mut message);
    encryptor.finish(&mut message).unwrap();

    let envelope = Envelope::parse(&message).unwrap();
    assert_eq!(envelope, Envelope { context: context(), keys: vec![wrapped] });
    let open = |key| {
        let mut decryptor = Decryptor::with_data_key(key);
        decryptor.update(&message, &mut Vec::new()).and_then(|()| decryptor.finish())
    };
    assert_eq!(open(key()), Ok(()));
    assert_eq!(open(DataKey::from([8; 32])), Err(DecryptError::Commitment));

    assert_eq!(Envelope::parse(message.get(..100).unwrap()), Err(DecryptError::Truncated));
    assert_eq!(Envelope::parse(b""), Err(DecryptError::Truncated));
    assert_eq!(Envelope::parse(b"\x01"), Err(DecryptError::Unsupported));
}
