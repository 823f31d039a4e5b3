use super::*;

fn leaf(body: Body) -> Leaf {
    Leaf {
        origin: "wa/prod/gateway-0".into(),
        incarnation: "20261122T095900Z-5f0c2a91".into(),
        body,
    }
}

fn all() -> Vec<Leaf> {
    let time = || "2026-11-22T09:59:30.000Z".to_owned();
    let object = || Object {
        sha256: [0xab; 32],
        len: 12,
        key: "wa/prod/gateway-0/i/batch/dt=2026-11-22/hour=09/1.ndjson.gz.esdk".into(),
    };
    [
        Body::Start {
            time: time(),
            key: [1; 32],
            config: [2; 32],
            next: 0,
            previous: None,
            previous_checkpoint: None,
        },
        Body::Start {
            time: time(),
            key: [1; 32],
            config: [2; 32],
            next: 5,
            previous: Some("20250101T000000Z-00000000".into()),
            previous_checkpoint: None,
        },
        Body::Batch {
            first: 183_220,
            count: 3000,
            time: (time(), "2026-11-22T10:00:00.000Z".into()),
            records: [3; 32],
            object: object(),
        },
        Body::Gap { time: time(), missing: Missing::Source { seq: 9 } },
        Body::Gap { time: time(), missing: Missing::Records { first: 9, count: 2 } },
        Body::Gap {
            time: time(),
            missing: Missing::Sink { sink: "splunk-1".into(), first: 9, count: 2 },
        },
        Body::Gap {
            time: time(),
            missing: Missing::Span {
                seq: 9,
                file: Some([0xcd; 16]),
                from: 100,
                to: Some(4000),
                why: "file-vanished".into(),
            },
        },
        Body::Gap {
            time: time(),
            missing: Missing::Span {
                seq: 9,
                file: None,
                from: 0,
                to: None,
                why: "disk-full".into(),
            },
        },
        Body::Key { kid: "abcDEF-_".into(), object: object() },
        Body::Alive { time: time(), next: 9 },
        Body::End { time: time(), next: 9 },
    ]
    .map(leaf)
    .to_vec()
}

#[test]
fn the_batch_leaf_is_the_text_of_the_specification() {
    let text = all()[2].encode();
    let lines: Vec<_> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["audit-batch/v1", "origin", "incarnation", "first", "count", "time", "records", "object"]
    );
    assert!(text.contains(
        "\nfirst 183220\ncount 3000\ntime 2026-11-22T09:59:30.000Z 2026-11-22T10:00:00.000Z\n"
    ));
}

#[test]
fn every_leaf_reads_back() {
    for leaf in all() {
        assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
    }
}

#[test]
fn another_spelling_is_refused() {
    for leaf in all() {
        let text = leaf.encode();
        for bad in [
            format!("{text}\n"),
            text.trim_end().to_owned(),
            text.replace("\norigin ", "\norigin  "),
            text.replace("/v1", "/v2"),
            text.replacen("next ", "next 0", 1)
                .replace("count 3", "count +3")
                .replace("kid a", "kid !"),
            text.replace("gateway-0", "../x"),
        ] {
            if bad != text {
                assert_eq!(Leaf::parse(&bad), Err(NotALeaf), "{bad:?}");
            }
        }
    }
}

#[test]
fn the_longest_origin_has_batch_leaves_that_read_back() {
    let mut leaf = all()[2].clone();
    leaf.origin = "o".repeat(200);
    let layout = crate::layout::Layout::new(&leaf.origin, &leaf.incarnation).unwrap();
    let Body::Batch { object, .. } = &mut leaf.body else { panic!() };
    object.key = layout.batch_key(u64::MAX, 1_795_341_570, "zstd");
    assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
}

#[test]
fn times_and_ranges_that_cannot_be_are_refused() {
    let [start, _, batch, _, records, ..] = &all()[..] else { panic!() };
    for (leaf, good, bad) in [
        (start, "2026-11-22T", "2026-13-22T"),
        (start, "2026-11-22T", "2026-02-29T"),
        (start, "T09:59:30.", "T24:59:30."),
        (start, "T09:59:30.", "T09:59:60."),
        (batch, "count 3000", "count 0"),
        (batch, "first 183220", "first 18446744073709551615"),
        (records, "records 9 2", "records 9 0"),
        (records, "records 9 2", "records 18446744073709551615 2"),
        (start, "incarnation 2026", "incarnation x/2026"),
    ] {
        let text = leaf.encode().replacen(good, bad, 1);
        assert_ne!(text, leaf.encode());
        assert_eq!(Leaf::parse(&text), Err(NotALeaf), "{text}");
    }
}

#[test]
fn a_gap_leaf_says_what_is_missing_by_itself() {
    let is_span =
        |leaf: &&Leaf| matches!(leaf.body, Body::Gap { missing: Missing::Span { .. }, .. });
    let text = all().iter().find(is_span).unwrap().encode();
    let id = "cd".repeat(16);
    assert!(text.ends_with(&format!("\nseq 9\nfile {id}\nfrom 100\nto 4000\nwhy file-vanished\n")));
    for (good, bad) in [
        ("to 4000", "to 99"),
        ("to 4000", "to -"),
        ("why file-vanished", "why "),
        ("why file-vanished", "why call +1555"),
        (id.as_str(), "-\n"),
        (id.as_str(), "CD"),
    ] {
        assert_eq!(Leaf::parse(&text.replacen(good, bad, 1)), Err(NotALeaf), "{bad}");
    }
}

#[test]
fn a_gap_leaf_names_the_sink_that_gave_up() {
    let is_sink =
        |leaf: &&Leaf| matches!(leaf.body, Body::Gap { missing: Missing::Sink { .. }, .. });
    let text = all().iter().find(is_sink).unwrap().encode();
    assert!(text.ends_with("\nsink splunk-1\nrecords 9 2\n"), "{text}");
    for (good, bad) in [
        ("sink splunk-1", "sink "),
        ("sink splunk-1", "sink a b"),
        ("sink splunk-1", "sink .."),
        ("records 9 2", "records 9 0"),
        ("records 9 2", "records 18446744073709551615 2"),
        ("records 9 2\n", ""),
    ] {
        assert_eq!(Leaf::parse(&text.replacen(good, bad, 1)), Err(NotALeaf), "{bad}");
    }
}

#[test]
fn a_start_carries_the_checkpoint_that_it_goes_on_from() {
    let signer = crate::note::Signer::new("o", crate::keys::SigningKey::from_seed(&[3; 32]));
    let note =
        |origin: &str| signer.sign(&Checkpoint { origin: origin.into(), size: 4, root: [5; 32] });
    let with = |origin: &str, previous: Option<&str>| {
        let mut leaf = all()[0].clone();
        let Body::Start { previous: p, previous_checkpoint, .. } = &mut leaf.body else { panic!() };
        *p = previous.map(str::to_owned);
        *previous_checkpoint = Some(note(origin));
        leaf
    };
    let good = with("o/20250101T000000Z-00000000", Some("20250101T000000Z-00000000"));
    assert!(good.encode().contains("\nprevious-checkpoint "));
    assert_eq!(good.clone().checked(), Ok(good));
    for bad in [
        with("o/20250101T000000Z-00000000", Some("20250101T000000Z-00000001")),
        with("o/20250101T000000Z-00000000", None),
        with(&format!("{}/i", "o".repeat(5000)), Some("i")),
    ] {
        assert_eq!(bad.checked(), Err(NotALeaf));
    }
}

#[test]
fn a_leaf_that_would_not_read_back_is_found_before_it_is_logged() {
    for good in all() {
        assert_eq!(good.clone().checked(), Ok(good));
    }
    let mut bad = all()[0].clone();
    bad.origin.push_str("\nincarnation x");
    assert_eq!(bad.checked(), Err(NotALeaf));
}

proptest::proptest! {
    #[test]
    fn leaves_with_any_numbers_read_back(
        first in 0..u64::MAX / 2,
        count in 1..u64::MAX / 2,
        bytes: [u8; 32],
        file: Option<[u8; 16]>,
        to: Option<u64>,
        kid in "[A-Za-z0-9_-]{8}",
        origin in "[A-Za-z0-9._-]{1,20}x(/[A-Za-z0-9_-]{1,20}){0,3}",
    ) {
        let time = || "2026-11-22T09:59:30.000Z".to_owned();
        let object = Object { sha256: bytes, len: count, key: format!("{origin}/k=1/a.esdk") };
        let to = to.map(|to| to.max(first));
        let missing = Missing::Span { seq: first, file, from: first, to, why: "x-1".into() };
        for body in [
            Body::Start {
                time: time(), key: bytes, config: bytes, next: first, previous: None, previous_checkpoint: None,
            },
            Body::Batch {
                first, count, time: (time(), time()), records: bytes, object: object.clone(),
            },
            Body::Gap { time: time(), missing },
            Body::Gap { time: time(), missing: Missing::Records { first, count } },
            Body::Gap { time: time(), missing: Missing::Sink { sink: "s".into(), first, count } },
            Body::Key { kid, object },
            Body::Alive { time: time(), next: first },
            Body::End { time: time(), next: first },
        ] {
            let leaf = Leaf { origin: origin.clone(), incarnation: "i".into(), body };
            proptest::prop_assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
        }
    }

    #[test]
    fn garbage_never_panics(text in ".*", kind in "(start|batch|gap|key|alive|end)") {
        drop(Leaf::parse(&text));
        drop(Leaf::parse(&format!("audit-{kind}/v1\norigin a\nincarnation b\n{text}")));
    }
}
