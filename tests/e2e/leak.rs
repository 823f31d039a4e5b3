//! Nothing that the samples hold of a person is found in anything that is
//! written: journal and outbox while unshipped, archive, opened records, log.

use crate::admin::Agent;
use crate::sandbox::{Sandbox, files, repository, said};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::collections::BTreeMap;

/// Every form in which a planted value must not be found, with what it is.
fn forms(class: &str, value: &str) -> Vec<(Vec<u8>, String)> {
    let mut forms = Vec::new();
    let mut add =
        |form: &str, bytes: Vec<u8>| forms.push((bytes, format!("{class} {value:?} in {form}")));
    add("clear", value.as_bytes().to_vec());
    let escaped: String = value.encode_utf16().map(|u| format!("\\u{u:04x}")).collect();
    add("\\u form", escaped.into_bytes());
    let json = serde_json::to_string(value).unwrap();
    let json = json.trim_matches('"');
    if json != value {
        add("JSON", json.as_bytes().to_vec());
    }
    let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
    add("percent", percent.into_bytes());
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    add("hex", hex.clone().into_bytes());
    add("HEX", hex.to_uppercase().into_bytes());
    // Base64 at each of the three alignments: without the characters that
    // depend on the neighbours.
    for shift in 0..3 {
        let padded = [&vec![b' '; shift][..], value.as_bytes()].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&padded);
            let from = [0, 2, 3][shift];
            let to = (padded.len() * 8) / 6;
            if let Some(core) = text.get(from..to)
                && core.len() >= 8
            {
                add("base64", core.as_bytes().to_vec());
            }
        }
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    if class == "phones" && digits.len() >= 8 {
        add("digits alone", digits.clone().into_bytes());
        let bcd = |digits: &str| -> Vec<u8> {
            digits.as_bytes().chunks_exact(2).map(|p| (p[0] - b'0') << 4 | (p[1] - b'0')).collect()
        };
        for bytes in [bcd(&digits), bcd(&digits[1..])] {
            add(
                "BCD in hex",
                bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes(),
            );
            add("BCD", bytes);
        }
    }
    forms
}

/// Values of at least five characters: shorter ones are found by chance.
fn planted() -> Vec<(Vec<u8>, String)> {
    let text = std::fs::read_to_string(repository().join("samples/planted.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let classes: BTreeMap<String, Vec<String>> =
        serde_json::from_value(all["always"].clone()).unwrap();
    let mut forms_of_all = Vec::new();
    let mut values = 0;
    for (class, list) in &classes {
        for value in list.iter().filter(|v| v.chars().count() >= 5) {
            values += 1;
            forms_of_all.extend(forms(class, value));
        }
    }
    assert!(values > 300, "{values} planted values");
    forms_of_all
}

struct Search {
    machine: AhoCorasick,
    names: Vec<String>,
}

impl Search {
    fn new() -> Self {
        let (patterns, names): (Vec<_>, Vec<_>) = planted().into_iter().unzip();
        let machine =
            AhoCorasick::builder().match_kind(MatchKind::Standard).build(patterns).unwrap();
        Self { machine, names }
    }

    fn assert_none(&self, place: &str, bytes: &[u8]) {
        let found: Vec<_> = self
            .machine
            .find_overlapping_iter(bytes)
            .map(|m| {
                let context = &bytes[m.start().saturating_sub(60)..(m.end() + 20).min(bytes.len())];
                format!(
                    "{} …{}",
                    self.names[m.pattern().as_usize()],
                    String::from_utf8_lossy(context)
                )
            })
            .take(20)
            .collect();
        assert!(found.is_empty(), "{} leaks in {place}:\n{}", found.len(), found.join("\n"));
    }
}

#[test]
fn nothing_planted_in_the_samples_is_found_anywhere() {
    let search = Search::new();
    for (profile, level) in [("strict", "debug"), ("balanced", "info"), ("audit-only", "info")] {
        let mut sandbox = Sandbox::directory();
        sandbox.settings.include = format!("{}/samples/*/**/*.log", repository().display());
        sandbox.settings.profile = profile;
        sandbox.settings.log_level = level;
        // The archive's folder is a file at first: everything stays in journal and outbox.
        std::fs::write(sandbox.path("archive"), "in the way").unwrap();
        let config = sandbox.config();
        let stuck =
            sandbox.run(&["run", "--once", "--timeout", "5", "-c", config.to_str().unwrap()]);
        assert_eq!(stuck.status.code(), Some(1), "{}", said(&stuck));
        let place = |what: &str| format!("the {what} ({profile})");
        search.assert_none(&place("log"), &stuck.stderr);
        search.assert_none(&place("log"), &stuck.stdout);
        for file in files(&sandbox.path("journal")) {
            search.assert_none(&place(&file.display().to_string()), &std::fs::read(&file).unwrap());
        }
        std::fs::remove_file(sandbox.path("archive")).unwrap();
        let shipped = sandbox.once();
        assert!(shipped.status.success(), "{}", said(&shipped));
        search.assert_none(&place("log"), &shipped.stderr);
        for file in files(&sandbox.path("archive")) {
            search.assert_none(&place(&file.display().to_string()), &std::fs::read(&file).unwrap());
        }
        let records = sandbox.open();
        assert!(records.len() > 200, "{} records", records.len());
        search.assert_none(&place("opened records"), records.join("\n").as_bytes());
    }
}

#[test]
fn nothing_planted_is_in_metrics_or_status() {
    let search = Search::new();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.include = format!("{}/samples/*/**/*.log", repository().display());
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    // Its errors are in the status.
    std::fs::write(sandbox.path("archive"), "in the way").unwrap();
    let agent = Agent::start(&sandbox);
    agent.wait_for("the samples to be read", |m| {
        m.value("sealtail_records_total", &[]) > 200.0
            && m.value("sealtail_read_lag_bytes", &[]) == 0.0
            && m.value("sealtail_sink_failures_total", &["archive"]) > 0.0
    });
    let (status, metrics) = (agent.get("/status"), agent.get("/metrics"));
    assert!(status.body.contains("last_error") && metrics.body.len() > 5000, "{}", status.body);
    search.assert_none("/status", status.body.as_bytes());
    search.assert_none("/metrics", metrics.body.as_bytes());
}

#[test]
fn the_search_itself_finds_every_planted_value_in_the_samples() {
    let search = Search::new();
    let all: Vec<u8> = files(&repository().join("samples"))
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "log"))
        .flat_map(|f| std::fs::read(f).unwrap())
        .collect();
    let found = search.machine.find_overlapping_iter(&all).count();
    assert!(found > 500, "{found}");
}

#[test]
fn what_the_policy_keeps_is_there() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.include = format!("{}/samples/*/**/*.log", repository().display());
    let shipped = sandbox.once();
    assert!(shipped.status.success(), "{}", said(&shipped));
    let records = sandbox.open();
    let text = std::fs::read_to_string(repository().join("samples/kept.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = records.join("\n");
    let mut missing = Vec::new();
    for (class, list) in kept["values"].as_object().unwrap() {
        for value in list.as_array().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !all.contains(&value) {
                missing.push(format!("{class} {value}"));
            }
        }
    }
    assert!(missing.is_empty(), "not kept: {missing:#?}");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for record in &records {
        let value: serde_json::Value = serde_json::from_str(record).unwrap();
        *counts.entry(value["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (event, count) in kept["events"].as_object().unwrap() {
        let least = count.as_u64().unwrap();
        assert!(
            counts.get(event).copied().unwrap_or(0) >= least,
            "{event}: {counts:?}, at least {least} expected"
        );
    }
}
