//! The sinks that follow the journal: Splunk and Datadog.

use super::{AssembleError, config_error};
use crate::config::{self, Config, Feed, FeedTo};
use crate::disk::SharedDisk;
use crate::journal::{Journal, JournalKey, Seq};
use crate::sealer::Waivers;
use crate::sealer::outbox::Outbox;
use crate::ship::batch::{Batcher, Encode};
use crate::ship::dead::DeadLetters;
use crate::ship::engine::{self, Engine, Times};
use crate::ship::on_full::OnFull;
use crate::ship::wire::{Dialect, ReadSecret, Wire};
use crate::sink::cursor::{Cursor, Cursors, Next};
use crate::sink::event;
use crate::sink::sealed::FieldKeys;
use crate::sink::{Counters, datadog, splunk};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the sinks go on from.
pub(in crate::cli) struct Log<'a> {
    pub(in crate::cli) journal: &'a Journal,
    pub(in crate::cli) key: &'a JournalKey,
    pub(in crate::cli) cursors: &'a Cursors,
    /// When the log is sealed.
    pub(in crate::cli) outbox: Option<Arc<Outbox>>,
    /// Where a gap is asked for.
    pub(in crate::cli) waivers: Waivers,
    /// Whether the records may be there already, and say so (replay).
    pub(in crate::cli) repeated: bool,
    /// For the fields that leave sealed.
    pub(in crate::cli) field_keys: FieldKeys,
}

/// Opens all of them, and holds the journal for them and for those that are gone
/// from the configuration.
pub(super) fn open(
    config: &Config,
    disk: &SharedDisk,
    log: &Log<'_>,
) -> Result<Vec<Engine>, AssembleError> {
    let mut engines = Vec::new();
    for feed in &config.feeds {
        engines.push(one(config, feed, disk, log)?);
    }
    for (name, cursor) in log.cursors.all()? {
        let Next::Record(next) = cursor.next else { continue };
        if config.feeds.iter().any(|feed| feed.name.as_str() == name) {
            continue;
        }
        tracing::warn!(
            sink = name,
            next,
            "this sink is not in the configuration any more and holds the journal; \
             `sealtail forget-sink` lets it go"
        );
        log.journal.handle().hold(&name, Seq(cursor.gave_up.unwrap_or(next)));
    }
    Ok(engines)
}

/// Opens one of them, where its cursor is.
pub(in crate::cli) fn one(
    config: &Config,
    feed: &Feed,
    disk: &SharedDisk,
    log: &Log<'_>,
) -> Result<Engine, AssembleError> {
    let name = feed.name.to_string();
    let (begin, end) = (log.journal.begin(), log.journal.end());
    let known = log.cursors.load(&name)?;
    let gave_up = known.as_ref().and_then(|cursor| match cursor.next {
        Next::Record(next) => cursor.gave_up.map(|upto| (Seq(next), Seq(upto))),
        Next::Leaf(_) => None,
    });
    // What was given up need not be here any more.
    let gave_up = gave_up.filter(|(next, upto)| next < upto && (begin..=end).contains(upto));
    let from = match known.map(|cursor| cursor.next) {
        // A new one starts at the oldest record that is kept.
        None => begin,
        Some(Next::Record(_)) if let Some((_, upto)) = gave_up => upto,
        Some(Next::Record(next)) if (begin..=end).contains(&Seq(next)) => Seq(next),
        Some(Next::Record(next)) => {
            return Err(AssembleError::Failed(format!(
                "go on with sink {name}: record {next} is its next, the journal holds {begin} to {end}. Journal \
                 and cursors belong together and are only restored together; or let the sink begin anew: \
                 take it out of the configuration, `sealtail forget-sink {name}`, put it back"
            )));
        }
        Some(Next::Leaf(_)) => {
            return Err(AssembleError::Config(format!(
                "sink {name} was an archive before: give the new sink another name, and let the old one go \
                 with `sealtail forget-sink {name}`"
            )));
        }
    };
    let place = feed.place();
    let cursor = Cursor {
        next: Next::Record(gave_up.map_or(from, |(next, _)| next).0),
        place: Some(place.clone()),
        gave_up: gave_up.map(|(_, upto)| upto.0),
    };
    match log.cursors.save(&name, &cursor) {
        Err(e) if e.is_full() => tracing::warn!(sink = name, "failed to {e}"),
        other => other?,
    }
    match feed.on_full {
        OnFull::Block => log.journal.handle().hold(&name, from),
        OnFull::Gap => log.journal.handle().hold_loosely(&name, from),
    }
    let id = log.journal.id();
    let of = event::Log { origin: id.origin.clone(), incarnation: id.incarnation.clone() };
    let counters = Arc::new(Counters::default());
    let (wire, encoder) = destination(feed, &of, &counters, Some(&log.field_keys))?;
    let max_age = u64::try_from(feed.batch.max_age.as_millis()).unwrap_or(u64::MAX);
    let handle = log.journal.handle();
    let mut batcher = Batcher::new(handle, from, encoder, feed.compressed, max_age)?;
    batcher.mark_repeated(log.repeated);
    let mut times = Times::default();
    if let FeedTo::Splunk { ack_timeout, .. } = feed.to {
        times.ack = ack_timeout;
    }
    let options = engine::Options {
        name,
        place,
        log: of,
        compressed: feed.compressed,
        max_in_flight: feed.max_in_flight,
        max_bytes: usize::try_from(config::HELD).unwrap_or(usize::MAX),
        rate: feed.rate,
        times,
        on_full: feed.on_full,
        gave_up,
    };
    let parts = engine::Parts {
        wire,
        batcher,
        journal: log.journal.handle(),
        cursors: log.cursors.clone(),
        dead: dead_letters(config, disk, log.key),
        outbox: log.outbox.clone(),
        waivers: log.outbox.is_some().then(|| log.waivers.clone()),
        counters,
    };
    Ok(Engine::new(options, parts))
}

/// The client and the encoder of a sink. Without keys, the encoder of a sink that
/// seals fields encodes nothing.
///
/// # Errors
/// When the token or key cannot be read.
pub(in crate::cli) fn destination(
    feed: &Feed,
    log: &event::Log,
    counters: &Arc<Counters>,
    keys: Option<&FieldKeys>,
) -> Result<(Wire, Box<dyn Encode>), AssembleError> {
    let reference = feed.secret.clone();
    let read: ReadSecret = Arc::new(move || {
        let secret = reference.load(&crate::cli::environment).map_err(|e| e.to_string())?;
        let text = secret.text().ok_or_else(|| format!("{reference} is not text"))?.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{reference} is no token: it has blanks or is empty"));
        }
        Ok(Zeroizing::new(text.to_owned()))
    });
    let secret = read().map_err(config_error)?;
    let (wanted, log) = (feed.wanted.clone(), log.clone());
    let limits = (feed.batch.max_bytes, feed.batch.max_events);
    let keys = keys.filter(|_| feed.is_sealing()).cloned();
    let (dialect, encoder): (_, Box<dyn Encode>) = match &feed.to {
        FeedTo::Splunk { url, metadata, acknowledgements, .. } => {
            let client = splunk::Splunk::new(
                url,
                secret,
                *acknowledgements,
                feed.compressed,
                Arc::clone(counters),
            );
            let encoder = splunk::Encoder::new(log.clone(), metadata.clone(), wanted, limits);
            (Dialect::Splunk(client, metadata.clone()), Box::new(encoder.sealing(keys)))
        }
        FeedTo::Datadog { site, url, metadata } => {
            let client = datadog::Datadog::new(site, url.as_deref(), secret, feed.compressed);
            let counters = Arc::clone(counters);
            let encoder =
                datadog::Encoder::new(log.clone(), metadata.clone(), wanted, limits, counters);
            (Dialect::Datadog(client, metadata.clone()), Box::new(encoder.sealing(keys)))
        }
    };
    Ok((Wire::new(dialect, log, feed.http.clone(), read), encoder))
}

/// The dead letters of all sinks.
pub(in crate::cli) fn dead_letters(
    config: &Config,
    disk: &SharedDisk,
    key: &JournalKey,
) -> DeadLetters {
    let max = config.limits.dead_letters.bytes();
    DeadLetters::new(Arc::clone(disk), &config.journal.path, key.clone(), max)
}
