//! From the configuration of a bucket to the options of the store.

use super::assemble::AssembleError;
use super::aws;
use crate::aws::Transport;
use crate::config;
use crate::store::s3::{
    Checksums, Encryption, LockMode, ObjectLock, Retention, S3Options, WriteOptions,
};

/// Reads the credentials that are given, if there are any.
pub(super) fn options(s3: &config::S3) -> Result<S3Options, AssembleError> {
    let mut options = S3Options::new(&s3.bucket, &s3.prefix);
    options.region.clone_from(&s3.region);
    options.endpoint = aws::endpoint(s3.endpoint.as_deref())?;
    options.path_style = Some(s3.path_style);
    options.checksums = match s3.checksums {
        config::Checksums::WhenSupported => Checksums::WhenSupported,
        config::Checksums::WhenRequired => Checksums::WhenRequired,
    };
    options.credentials = aws::credentials(s3.credentials.as_ref())?;
    options.profile.clone_from(&s3.profile);
    options.assume_role = s3.assume_role.as_ref().map(aws::assume_role).transpose()?;
    options.expected_owner.clone_from(&s3.expected_owner);
    options.regions.clone_from(&s3.regions);
    options.transport = Transport { ca: s3.ca.clone(), proxy: s3.proxy.clone() };
    options.write = write_options(s3);
    Ok(options)
}

/// What is asked of the bucket for each object.
fn write_options(s3: &config::S3) -> WriteOptions {
    WriteOptions {
        encryption: s3.encryption.as_ref().map(|encryption| match encryption {
            config::Encryption::S3 => Encryption::S3,
            config::Encryption::Kms { key_id, bucket_key } => {
                Encryption::Kms { key_id: key_id.clone(), bucket_key: *bucket_key }
            }
        }),
        storage_class: s3.storage_class.clone(),
        tags: s3.tags.clone(),
        lock: s3.object_lock.map(|lock| ObjectLock {
            retention: lock.retention.map(|(mode, days)| Retention {
                mode: match mode {
                    config::LockMode::Governance => LockMode::Governance,
                    config::LockMode::Compliance => LockMode::Compliance,
                },
                days,
            }),
            legal_hold: lock.legal_hold,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::CredentialSource;
    use crate::config::Archive;

    fn of(text: &str) -> S3Options {
        let c = config::parse(text, "c.yaml", &|_| Some("g".to_owned())).unwrap();
        let Archive::S3(s3) = &c.sinks[0].archive else { panic!("not S3") };
        options(s3).unwrap()
    }

    #[test]
    fn every_key_arrives() {
        let got = of("residency: {regions: [eu-central-1]}
sinks:
  - name: archive
    type: archive
    url: s3://audit-logs/wa
    region: eu-central-1
    endpoint: https://s3.example:9000
    path_style: true
    checksums: when_required
    profile: audit
    tls: {ca: /etc/ssl/bank.pem}
    proxy: http://proxy.example:3128
    assume_role: {role_arn: 'arn:aws:iam::123456789012:role/w', external_id: abc, endpoint: 'https://sts.example'}
    expected_owner: \"123456789012\"
    server_side_encryption: {type: kms, key_id: alias/a, bucket_key: false}
    storage_class: COLD
    tags: {team: trust}
    object_lock: {mode: governance, retain_days: 9, legal_hold: true}
");
        assert_eq!((got.bucket.as_str(), got.prefix.as_str()), ("audit-logs", "wa"));
        assert_eq!(got.region.as_deref(), Some("eu-central-1"));
        assert_eq!(got.endpoint.unwrap().as_str(), "https://s3.example:9000");
        assert_eq!((got.path_style, got.checksums), (Some(true), Checksums::WhenRequired));
        assert!(matches!(got.credentials, CredentialSource::Chain));
        assert_eq!(got.profile.as_deref(), Some("audit"));
        let (ca, proxy) =
            (Some("/etc/ssl/bank.pem".into()), Some("http://proxy.example:3128".into()));
        assert_eq!(got.transport, Transport { ca, proxy });
        let role = got.assume_role.unwrap();
        assert_eq!(role.role_arn, "arn:aws:iam::123456789012:role/w");
        assert_eq!((role.external_id.as_deref(), &*role.session_name), (Some("abc"), "sealtail"));
        assert_eq!(role.endpoint.unwrap().as_str(), "https://sts.example");
        assert_eq!(got.expected_owner.as_deref(), Some("123456789012"));
        assert_eq!(got.regions, Some(vec!["eu-central-1".to_owned()]));
        let want = WriteOptions {
            encryption: Some(Encryption::Kms {
                key_id: Some("alias/a".to_owned()),
                bucket_key: Some(false),
            }),
            storage_class: Some("COLD".to_owned()),
            tags: vec![("team".to_owned(), "trust".to_owned())],
            lock: Some(ObjectLock {
                retention: Some(Retention { mode: LockMode::Governance, days: 9 }),
                legal_hold: true,
            }),
        };
        assert_eq!(got.write, want);
    }

    #[test]
    fn what_is_not_said_is_not_asked() {
        let got = of("sinks: [{name: archive, type: archive, url: 's3://audit-logs'}]\n");
        assert_eq!(got.write, WriteOptions::default());
        assert!(got.profile.is_none() && got.assume_role.is_none() && got.regions.is_none());
        assert!(got.expected_owner.is_none() && got.endpoint.is_none());
    }
}
