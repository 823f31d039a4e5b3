//! `residency`: where data may lie, and where it may go.
//!
//! What is outside is refused when the configuration is read, if its place is
//! written there, and otherwise at the start. Names are compared whole: `eu-*`
//! would let in London and Zürich, which are not in the EU.

use super::convert::Check;
use super::origin::is_name_byte;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where data may lie, and where it may go. `None`: anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residency {
    /// Regions of AWS that a bucket or a KMS key may be in; at least one.
    pub regions: Option<Vec<String>>,
    /// Datadog sites that records may go to; at least one.
    pub sites: Option<Vec<String>>,
}

/// Why something may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// A region.
    #[error("region {0} is not among residency.regions ({1})")]
    Region(String, String),
    /// An ARN or a name that does not say where it is.
    #[error("{0} names no region, and residency.regions asks for one of {1}")]
    Nowhere(String, String),
    /// A Datadog site.
    #[error("site {0} is not among residency.sites ({1})")]
    Site(String, String),
}

impl Residency {
    /// Whether a bucket or key may be in this region.
    ///
    /// # Errors
    /// [`Outside`], in words.
    pub fn region(&self, region: &str) -> Result<(), Outside> {
        match &self.regions {
            Some(allowed) if !allowed.iter().any(|r| r == region) => {
                Err(Outside::Region(region.to_owned(), allowed.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// Whether something with this ARN, such as a KMS key, may be used. An id or
    /// an alias names no region: it is in the region of whoever uses it, which
    /// the caller judges.
    ///
    /// # Errors
    /// [`Outside`], in words.
    pub fn arn(&self, arn: &str) -> Result<(), Outside> {
        match (&self.regions, arn.split(':').nth(3)) {
            (None, _) => Ok(()),
            (Some(_), Some(region)) if !region.is_empty() => self.region(region),
            (Some(allowed), _) => Err(Outside::Nowhere(arn.to_owned(), allowed.join(", "))),
        }
    }

    /// Whether records may go to this Datadog site.
    ///
    /// # Errors
    /// [`Outside`], in words.
    pub fn site(&self, site: &str) -> Result<(), Outside> {
        match &self.sites {
            Some(allowed) if !allowed.iter().any(|s| s == site) => {
                Err(Outside::Site(site.to_owned(), allowed.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// Where data may lie, and where it may go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawResidency {
    /// Regions of AWS that a bucket or a KMS key may be in; whole names.
    #[schemars(extend("minItems" = 1, "examples" = [["eu-central-1", "eu-west-1"]]))]
    regions: Option<Vec<Option<String>>>,
    /// Datadog sites that records may go to; whole names.
    #[schemars(extend("minItems" = 1, "examples" = [["datadoghq.eu"]]))]
    sites: Option<Vec<Option<String>>>,
}

impl RawResidency {
    pub(super) fn convert(self, check: &mut Check<'_>) -> Option<Residency> {
        let empty = self.regions.is_none() && self.sites.is_none();
        let before = check.problems.is_empty();
        let regions = names(self.regions, "residency.regions", "eu-central-1", check);
        let sites = names(self.sites, "residency.sites", "datadoghq.eu", check);
        if empty && before {
            check.refuse("residency", "restricts nothing", "{regions: [eu-central-1]}");
        }
        Some(Residency { regions: regions?, sites: sites? })
    }
}

/// A list of names, if it was given; `None` when it is none.
#[expect(clippy::option_option, reason = "left out, wrong, and good are three things")]
fn names(
    raw: Option<Vec<Option<String>>>,
    path: &str,
    example: &str,
    check: &mut Check<'_>,
) -> Option<Option<Vec<String>>> {
    let Some(raw) = raw else {
        return (!check.given(path)).then_some(None);
    };
    if raw.is_empty() {
        check.refuse(path, "allows nothing", format!("[{example}], or delete it"));
    }
    for (n, name) in raw.iter().enumerate() {
        let path = format!("{path}[{n}]");
        if name.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(is_name_byte)) {
            let what = format!("`{}` is no whole name", check.shown(&path));
            check.refuse(&path, what, format!("each by its name, such as {example}"));
        }
    }
    raw.into_iter().collect::<Option<Vec<_>>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_and_what_is_not() {
        let list = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        let eu = Residency {
            regions: list(&["eu-central-1", "eu-west-1"]),
            sites: list(&["datadoghq.eu"]),
        };
        assert_eq!(eu.region("eu-west-1"), Ok(()));
        assert_eq!(
            eu.region("eu-west-2").unwrap_err().to_string(),
            "region eu-west-2 is not among residency.regions (eu-central-1, eu-west-1)"
        );
        assert_eq!(eu.arn("arn:aws:kms:eu-west-1:123456789012:key/x"), Ok(()));
        assert!(eu.arn("arn:aws:kms:us-east-1:123456789012:key/x").is_err());
        for nowhere in ["alias/audit", "arn:aws:kms::1:key/x", ""] {
            assert!(eu.arn(nowhere).is_err(), "{nowhere}");
        }
        assert_eq!(eu.site("datadoghq.eu"), Ok(()));
        assert!(eu.site("datadoghq.com").unwrap_err().to_string().contains("datadoghq.com"));
        let anywhere = Residency::default();
        assert_eq!(anywhere.region("x"), Ok(()));
        assert_eq!((anywhere.arn("alias/a"), anywhere.site("x")), (Ok(()), Ok(())));
    }
}
