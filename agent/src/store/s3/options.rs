//! How a bucket is reached.

use super::write::WriteOptions;
use crate::aws::{Access, AssumeRole, CredentialSource, Endpoint, Transport};
use aws_config::Region;

/// Everything that is needed to talk to a bucket.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// What stands before every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region. `None`: as the usual AWS environment says; `us-east-1` for a
    /// custom endpoint of which nobody says a region.
    pub region: Option<String>,
    /// Address of an S3-compatible store. `None`: as the usual AWS environment
    /// says (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, profile), or AWS itself.
    pub endpoint: Option<Endpoint>,
    /// Whether the bucket stands in the path, not in the host name. `None`: it
    /// does for every endpoint that is not Amazon's.
    pub path_style: Option<bool>,
    /// Whether checksums are sent besides the signed payload hash.
    pub checksums: Checksums,
    /// Who we are.
    pub credentials: CredentialSource,
    /// The profile that the region and, with [`CredentialSource::Chain`], the
    /// credentials come from. `None`: as `AWS_PROFILE` says.
    pub profile: Option<String>,
    /// A role that is taken on with these credentials.
    pub assume_role: Option<AssumeRole>,
    /// The account that the bucket has to belong to (twelve digits); the server
    /// refuses every request otherwise.
    pub expected_owner: Option<String>,
    /// The regions that the bucket may be in (data residency). `None`: any.
    pub regions: Option<Vec<String>>,
    /// Trust and way.
    pub transport: Transport,
    /// What is asked of the bucket for each object that is written.
    pub write: WriteOptions,
}

impl S3Options {
    /// A bucket as the usual AWS environment describes it.
    #[must_use]
    pub fn new(bucket: &str, prefix: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: None,
            endpoint: None,
            path_style: None,
            checksums: Checksums::default(),
            credentials: CredentialSource::default(),
            profile: None,
            assume_role: None,
            expected_owner: None,
            regions: None,
            transport: Transport::default(),
            write: WriteOptions::default(),
        }
    }

    /// Refuses a region that the bucket may not be in.
    pub(super) fn admit(&self, region: &str) -> Result<(), String> {
        match &self.regions {
            Some(allowed) if !allowed.iter().any(|r| r == region) => Err(format!(
                "region {region} is not among residency.regions ({})",
                allowed.join(", ")
            )),
            _ => Ok(()),
        }
    }

    /// Who we are, and where.
    pub(super) fn access(&self) -> Access<'_> {
        Access {
            region: self.region.clone().map(Region::new),
            is_elsewhere: self.endpoint.is_some(),
            profile: self.profile.as_deref(),
            credentials: &self.credentials,
        }
    }
}

/// When checksums are sent besides the signed payload hash. Never as trailers:
/// all hashes are known before the request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    /// `x-amz-checksum-sha256` with every object; the store keeps it, and a
    /// later HEAD tells it.
    #[default]
    WhenSupported,
    /// Only where a request cannot do without (Object Lock). For stores that
    /// ignore or refuse such headers (Ceph); the signed payload hash still
    /// guards the upload, and comparing reads the whole object.
    WhenRequired,
}
