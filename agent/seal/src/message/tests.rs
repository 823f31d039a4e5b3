use super::*;

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
    assert!(matches!(open(&bad, 64), Err(DecryptError::NotForUs | DecryptError::Header)));
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
