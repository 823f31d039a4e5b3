//! The families as OpenMetrics text, by the crate of Prometheus' own developers.

use super::families::{FAMILIES, Family, Kind, Number, Row};
use super::status::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// The content type of what [`openmetrics`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, as OpenMetrics 1.0 text.
///
/// # Errors
/// None that can happen: writing to memory.
pub fn openmetrics(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shown(status)));
    let mut out = String::with_capacity(16 * 1024);
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Shown(Status);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let rows = (family.rows)(&self.0);
            // One without rows would be a name that nobody can look at.
            if !rows.is_empty() {
                one(&mut encoder, family, &rows)?;
            }
        }
        Ok(())
    }
}

fn one(encoder: &mut DescriptorEncoder<'_>, family: &Family, rows: &[Row]) -> fmt::Result {
    let unit = match family.unit {
        "bytes" => Some(Unit::Bytes),
        "seconds" => Some(Unit::Seconds),
        _ => None,
    };
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::StateSet => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    };
    let mut metric = encoder.encode_descriptor(family.stem(), family.help, unit.as_ref(), kind)?;
    for row in rows {
        let labels: Vec<_> =
            family.labels.iter().copied().zip(row.labels.iter().map(String::as_str)).collect();
        match family.kind {
            Kind::Info => metric.encode_info(&labels)?,
            _ if labels.is_empty() => number(&mut metric, family.kind, row.value)?,
            _ => number(&mut metric.encode_family(&labels)?, family.kind, row.value)?,
        }
    }
    Ok(())
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: Number) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Number::Whole(n)) => metric.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (Kind::Counter, Number::Real(n)) => metric.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (_, Number::Whole(n)) => metric.encode_gauge(&n),
        (_, Number::Real(n)) => metric.encode_gauge(&n),
    }
}
