//! `sealtail check --connect`: tries each destination. Nothing is sent that is kept,
//! but the one small object that trying a bucket leaves there.

use super::assemble;
use super::{Failure, Outcome, failure, print, runtime};
use crate::config::{Config, Feed, FeedTo, Kms, Recipient};
use crate::kms::Fault;
use crate::ship::expiry;
use crate::ship::http::{HttpError, Reply};
use crate::sink::event;
use sealtail_seal::keys::random_secret;
use sealtail_seal::message::Context;
use std::process::ExitCode;
use std::sync::Arc;

/// What was found out about one destination.
struct Row {
    sink: String,
    place: String,
    reached: Result<(), String>,
    /// `None`: cannot be known without sending something.
    authorised: Option<Result<(), String>>,
    /// Seconds that its clock is ahead of ours.
    skew: Option<i64>,
    limits: String,
    /// Days until its certificate ends.
    certificate: Option<i64>,
    /// What else was found out, a line a fact.
    facts: String,
}

impl Row {
    fn is_good(&self) -> bool {
        self.reached.is_ok() && !matches!(self.authorised, Some(Err(_)))
    }

    fn text(&self) -> String {
        let mark = |known: Option<&Result<(), String>>| match known {
            Some(Ok(())) => "yes",
            Some(Err(_)) => "NO",
            None => "?",
        };
        let skew = self.skew.map_or("?".to_owned(), |s| format!("{s:+} s"));
        let mut text = format!(
            "{:<12} {:<8} {:<10} {:<8} {:<28} {}\n",
            self.sink,
            mark(Some(&self.reached)),
            mark(self.authorised.as_ref()),
            skew,
            self.limits,
            self.place
        );
        let errors =
            [self.reached.as_ref().err(), self.authorised.as_ref().and_then(|a| a.as_ref().err())];
        for error in errors.into_iter().flatten() {
            text.push_str(&format!("{:<12} {error}\n", ""));
        }
        for fact in self.facts.lines() {
            text.push_str(&format!("{:<12} {fact}\n", ""));
        }
        if let Some(days) = self.certificate.filter(|days| *days < expiry::WARN_DAYS) {
            text.push_str(&format!("{:<12} its certificate ends in {days} days\n", ""));
        }
        text
    }
}

/// Clocks that differ by more than this make signed requests fail.
const SKEW: i64 = 300;

pub(super) fn connect(config: &Config) -> Outcome {
    let rows = runtime()?.block_on(async {
        let mut rows = Vec::new();
        for sink in &config.sinks {
            rows.push(archive(config, sink).await?);
        }
        for feed in &config.feeds {
            rows.push(feed_row(feed).await?);
        }
        let kms = config.seal.recipients.iter().filter_map(|recipient| match recipient {
            Recipient::Kms(kms) if !config.sinks.is_empty() => Some(kms),
            _ => None,
        });
        for (n, kms) in kms.enumerate() {
            rows.push(kms_row(config, kms, n == 0).await?);
        }
        Ok::<_, Failure>(rows)
    })?;
    let mut text = format!(
        "{:<12} {:<8} {:<10} {:<8} {:<28} {}\n",
        "sink", "reached", "authorised", "clock", "limits", "where"
    );
    let mut good = true;
    for row in rows {
        text.push_str(&row.text());
        if let Some(skew) = row.skew.filter(|skew| skew.abs() > SKEW) {
            text.push_str(&format!(
                "{:<12} the clocks differ by {skew} s: set this machine's\n",
                ""
            ));
            good = false;
        }
        good &= row.is_good();
    }
    print(&text)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// An archive is tried as it is at the start; what it can do stands below its row.
async fn archive(config: &Config, sink: &crate::config::Sink) -> Result<Row, Failure> {
    let place = assemble::place_of(&sink.archive).map_err(failure)?;
    let origin = config.origin.to_string();
    let tried = match place.open().await {
        Ok(store) => store.probe(&origin).await,
        Err(e) => Err(e),
    };
    let refused = tried.as_ref().is_err_and(|e| e.class() == crate::store::Class::Halt);
    let said = tried.as_ref().map(drop).map_err(ToString::to_string);
    let verdict = tried.as_ref().ok().map(|found| found.verdict().map_err(|e| e.to_string()));
    Ok(Row {
        sink: sink.name.to_string(),
        place: place.to_string(),
        reached: if refused { Ok(()) } else { said.clone() },
        authorised: if refused { Some(said) } else { verdict },
        skew: None,
        limits: "one PUT, at most 256 MiB".to_owned(),
        certificate: None,
        facts: tried.map(|found| found.to_string()).unwrap_or_default(),
    })
}

/// A key of KMS does once what it does for each batch; the data key is thrown away.
async fn kms_row(config: &Config, kms: &Kms, first: bool) -> Result<Row, Failure> {
    let key = assemble::keys::kms_key(kms).map_err(failure)?;
    let pairs = [
        ("audit:v", "1".to_owned()),
        ("audit:origin", config.origin.to_string()),
        ("audit:probe", "check".to_owned()),
    ];
    let context = Context::from_pairs(pairs).map_err(Failure::failed)?;
    let (action, tried) = match first {
        true => ("kms:GenerateDataKey", key.generate(&context).await.map(|(_, wrapped)| wrapped)),
        false => {
            let data_key = random_secret().map_err(Failure::failed)?;
            ("kms:Encrypt", key.wrap(&data_key, &context).await)
        }
    };
    let halts = tried.as_ref().is_err_and(Fault::is_halt);
    let said = tried.as_ref().map(drop).map_err(ToString::to_string);
    let behind = tried.as_ref().map(|wrapped| String::from_utf8_lossy(&wrapped.provider_info));
    let mut facts = format!("the agent needs {action} on it, with an encryption context\n");
    if let (true, Ok(behind)) = (kms.key.is_alias(), behind) {
        facts.push_str(&format!("the alias stands for {behind} now\n"));
    }
    Ok(Row {
        sink: "(kms)".to_owned(),
        place: kms.key.to_string(),
        reached: if halts { Ok(()) } else { said.clone() },
        authorised: (halts || said.is_ok()).then_some(said),
        skew: None,
        limits: "one call a batch".to_owned(),
        certificate: None,
        facts,
    })
}

async fn feed_row(feed: &Feed) -> Result<Row, Failure> {
    let log = event::Log { origin: "check".to_owned(), incarnation: "check".to_owned() };
    let (wire, _) =
        assemble::feeds::destination(feed, &log, &Arc::default(), None).map_err(failure)?;
    let probe = wire.probe().await;
    let (authorised, limits) = match &feed.to {
        FeedTo::Splunk { .. } => (splunk_token(&wire).await, "1 MB a body"),
        FeedTo::Datadog { .. } => {
            (probe.is_ok().then(|| valid_key(&probe)), "5 MB, 1000 entries, 1 MB each, 18 h")
        }
    };
    let now = i64::try_from(crate::run::now_ms() / 1000).unwrap_or(i64::MAX);
    let date = probe.as_ref().ok().and_then(|reply| reply.date);
    let skew = date.and_then(|date| i64::try_from(date).ok()).map(|date| date - now);
    Ok(Row {
        sink: feed.name.to_string(),
        place: feed.place(),
        reached: reached(&feed.to, &probe),
        authorised,
        skew,
        limits: limits.to_owned(),
        certificate: wire
            .certificate()
            .and_then(|der| expiry::days_left(&der, crate::run::now_ms())),
        facts: String::new(),
    })
}

fn reached(to: &FeedTo, probe: &Result<Reply, HttpError>) -> Result<(), String> {
    match (to, probe) {
        (_, Err(e)) => Err(e.to_string()),
        (FeedTo::Splunk { .. }, Ok(reply)) if reply.status != 200 => {
            Err(format!("HTTP {} to the question for health", reply.status))
        }
        _ => Ok(()),
    }
}

fn valid_key(probe: &Result<Reply, HttpError>) -> Result<(), String> {
    match probe {
        Err(e) => Err(e.to_string()),
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => Err(format!("HTTP {}: the API key is refused", reply.status)),
    }
}

/// An object without an event is refused for that (code 12) when the token is
/// good, and nothing is kept.
async fn splunk_token(wire: &crate::ship::wire::Wire) -> Option<Result<(), String>> {
    use crate::ship::answer::Answer;
    match wire.deliver(bytes::Bytes::from_static(b"{}"), false).await {
        Answer::Refused(refusal) if matches!(refusal.code, Some(5 | 6 | 12 | 13)) => Some(Ok(())),
        Answer::Halt { reason } => Some(Err(reason)),
        Answer::Refused(refusal) => Some(Err(refusal.reason)),
        _ => None,
    }
}
