//! The credential chain, each source with a stand-in on loopback: credentials
//! that run out in mid-run are had anew, a source that is away is waited for,
//! one that refuses is a halt, and every message says why.
//!
//! The chain reads the environment of the process, so each test runs this very
//! program again with another one (`child`). Both sides share a file: the child
//! writes its phase into it, which is also the token that web identity and
//! container read; the stand-in answers by the phase.

use super::stub::{Asked, Step, Stub, answer};
use super::tests::{options, sha};
use super::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the child does in each phase, and how it ended.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var("SEALTAIL_CHAIN_URL") else {
        return;
    };
    let phase = PathBuf::from(std::env::var("SEALTAIL_CHAIN_PHASE").unwrap());
    let options = S3Options {
        credentials: CredentialSource::Chain,
        profile: std::env::var("SEALTAIL_CHAIN_PROFILE").ok(),
        ..options(&url)
    };
    let store = S3Store::open(options).await.unwrap();
    for n in 1..=4 {
        std::fs::write(&phase, format!("phase-{n}")).unwrap();
        let body = Body::Bytes(Bytes::from_static(b"proof"));
        let end = store.put_new("log/0", &body, sha(b"proof"), &ObjectMeta::default()).await;
        match end {
            Ok(_) => println!("\nchain: sent"),
            Err(e) => println!("\nchain: {:?} {e}", e.class()),
        }
        // As the sink does after a halt.
        store.reload_credentials().await.unwrap();
    }
}

/// Four phases: good, away, good again, refused.
fn phases(variables: &[(&str, &str)], dir: &Path) -> (Vec<String>, Vec<String>) {
    let bucket = Stub::answering(|_| answer(200, "", ""));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["store::s3::chain_tests::child", "--exact", "--nocapture"])
        .env_clear()
        .env("HOME", dir)
        .env("SEALTAIL_CHAIN_URL", bucket.url())
        .env("SEALTAIL_CHAIN_PHASE", dir.join("phase"))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    for name in ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in variables {
        command.env(name, value);
    }
    let done = command.output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    let ends = text.lines().filter_map(|line| line.strip_prefix("chain: ")).map(str::to_owned);
    let signed = bucket.so_far().into_iter().map(|asked| {
        let by = asked.header("authorization").unwrap();
        by.split(['=', '/']).nth(1).unwrap().to_owned()
    });
    (ends.collect(), signed.collect())
}

#[track_caller]
fn good_away_good_refused((ends, signed): (Vec<String>, Vec<String>), away: &str, refused: &str) {
    println!("{ends:#?}");
    assert_eq!(signed, ["AKphase1", "AKphase3"], "{ends:#?}");
    assert_eq!(ends.len(), 4, "{ends:#?}");
    assert_eq!((ends[0].as_str(), ends[2].as_str()), ("sent", "sent"), "{ends:#?}");
    assert!(ends[1].starts_with("Retry"), "{ends:#?}");
    assert!(ends[1].contains("no credentials to be had") && ends[1].contains(away), "{ends:#?}");
    assert!(ends[3].starts_with(refused), "{ends:#?}");
    assert!(ends.iter().all(|end| !end.contains("Response {")), "{ends:#?}");
    assert!(ends.iter().all(|end| !end.contains("hidden") && !end.contains("t0ken")), "{ends:#?}");
}

/// The credentials of a phase; they are about to run out.
fn keys(phase: &str) -> (String, String) {
    let soon = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64 + 3000;
    (format!("AK{}", phase.replace('-', "")), crate::text::rfc3339(soon))
}

fn phase(dir: &Path) -> impl Fn() -> String + Send + 'static {
    let path = dir.join("phase");
    move || std::fs::read_to_string(&path).unwrap()
}

fn sts(action: &str, phase: &str) -> Step {
    let (key, until) = keys(phase);
    answer(
        200,
        "content-type: text/xml\r\n",
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/w/s</Arn>\
             <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser><Credentials>\
             <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey>\
             <SessionToken>t0ken</SessionToken><Expiration>{until}</Expiration></Credentials>\
             </{action}Result></{action}Response>"
        ),
    )
}

fn sts_error(status: u16, code: &str) -> Step {
    answer(
        status,
        "content-type: text/xml\r\n",
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>because</Message></Error></ErrorResponse>"
        ),
    )
}

fn token_service(action: &'static str, dir: &Path) -> Stub {
    let phase = phase(dir);
    Stub::answering(move |_| match phase().as_str() {
        "phase-2" => sts_error(503, "ServiceUnavailable"),
        "phase-4" => sts_error(403, "AccessDenied"),
        phase => sts(action, phase),
    })
}

#[test]
fn web_identity_is_read_anew_before_it_runs_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = token_service("AssumeRoleWithWebIdentity", dir.path());
    let ends = phases(
        &[
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/w"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", dir.path().join("phase").to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", &server.url()),
        ],
        dir.path(),
    );
    good_away_good_refused(ends, "ServiceUnavailable", "Halt");
    let asked = server.so_far();
    for n in [1, 2, 3, 4] {
        let token = format!("WebIdentityToken=phase-{n}");
        let seen = |asked: &Asked| asked.text.contains(&token) && asked.text.contains("role%2Fw");
        assert!(asked.iter().any(seen), "the token file is read each time: {asked:?}");
    }
}

#[test]
fn a_container_is_asked_with_the_token_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let phase = phase(dir.path());
    let server = Stub::answering(move |asked| {
        let phase = phase();
        if asked.header("authorization") != Some(&phase) || asked.line != "GET /v1/credentials" {
            return answer(400, "", "wrong token");
        }
        let (key, until) = keys(&phase);
        match phase.as_str() {
            "phase-2" => answer(500, "", ""),
            "phase-4" => {
                let said = r#"{"Code": "AccessDenied", "Message": "no association"}"#;
                answer(403, "content-type: application/json\r\n", said)
            }
            _ => answer(
                200,
                "content-type: application/json\r\n",
                format!(
                    r#"{{"AccessKeyId": "{key}", "SecretAccessKey": "hidden", "Token": "t0ken",
                        "Expiration": "{until}"}}"#
                ),
            ),
        }
    });
    let ends = phases(
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1/credentials", server.url())),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", dir.path().join("phase").to_str().unwrap()),
        ],
        dir.path(),
    );
    good_away_good_refused(ends, "StatusCode(500)", "Halt");
}

#[test]
fn an_instance_is_asked_with_a_session_token() {
    let dir = tempfile::tempdir().unwrap();
    let phase = phase(dir.path());
    let server = Stub::answering(move |asked| {
        let phase = phase();
        if asked.line == "PUT /latest/api/token" {
            assert!(asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
            return answer(200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "imds-v2");
        }
        if asked.header("x-aws-ec2-metadata-token") != Some("imds-v2") {
            return answer(401, "", "");
        }
        let (key, until) = keys(&phase);
        match (phase.as_str(), asked.line.as_str()) {
            ("phase-2", _) => answer(500, "", ""),
            // No profile on the instance any more.
            ("phase-4", _) => answer(404, "", ""),
            (_, "GET /latest/meta-data/iam/security-credentials/") => answer(200, "", "writer"),
            (_, "GET /latest/meta-data/iam/security-credentials/writer") => answer(
                200,
                "",
                format!(
                    r#"{{"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "{until}",
                        "AccessKeyId": "{key}", "SecretAccessKey": "hidden", "Token": "t0ken",
                        "Expiration": "{until}"}}"#
                ),
            ),
            _ => answer(404, "", ""),
        }
    });
    let ends = phases(
        &[
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.url()),
        ],
        dir.path(),
    );
    good_away_good_refused(ends, "error response from IMDS", "Halt");
}

#[test]
fn a_profile_that_is_named_beats_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let server = token_service("AssumeRole", dir.path());
    let config = dir.path().join("config");
    let text = "[profile base]\naws_access_key_id = AKBASE\naws_secret_access_key = hidden\n\
                [profile audit]\nrole_arn = arn:aws:iam::123456789012:role/w\n\
                source_profile = base\nexternal_id = acme-7\n";
    std::fs::write(&config, text).unwrap();
    let ends = phases(
        &[
            ("AWS_ACCESS_KEY_ID", "AKENV"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("SEALTAIL_CHAIN_PROFILE", "audit"),
            ("AWS_ENDPOINT_URL_STS", &server.url()),
        ],
        dir.path(),
    );
    good_away_good_refused(ends, "ServiceUnavailable", "Halt");
    let asked = server.so_far();
    assert!(asked.iter().all(|a| a.text.contains("ExternalId=acme-7")), "{asked:?}");
    assert!(asked[0].header("authorization").unwrap().contains("Credential=AKBASE/"));
}

#[test]
fn the_environment_comes_first_and_nothing_is_said_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let given = [("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", "hidden")];
    let (ends, signed) = phases(&given, dir.path());
    assert_eq!((ends, signed), (vec!["sent".to_owned(); 4], vec!["AKENV".to_owned(); 4]));
    let (ends, signed) = phases(&[], dir.path());
    assert!(signed.is_empty());
    assert!(
        ends.iter().all(|e| e.contains("Halt") && e.contains("no credentials were found")),
        "{ends:?}"
    );
}

/// A role that the configuration names: renewed by itself, with its external id.
#[tokio::test]
async fn a_role_is_renewed_before_it_runs_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |phase: &str| std::fs::write(dir.path().join("phase"), phase).unwrap();
    let server = token_service("AssumeRole", dir.path());
    let bucket = Stub::answering(|_| answer(200, "", ""));
    let role = AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/w".to_owned(),
        external_id: Some("acme-7".to_owned()),
        session_name: "gw-0".to_owned(),
        endpoint: Some(Endpoint::parse(&server.url()).unwrap()),
    };
    let options = S3Options { assume_role: Some(role), ..options(&bucket.url()) };
    let store = S3Store::open(options).await.unwrap();
    let body = Body::Bytes(Bytes::from_static(b"proof"));
    let put = async || store.put_new("log/0", &body, sha(b"proof"), &ObjectMeta::default()).await;
    at("phase-1");
    put().await.unwrap();
    at("phase-2");
    let e = put().await.unwrap_err();
    assert!(matches!(e.class(), crate::store::Class::Retry { .. }), "{e}");
    at("phase-3");
    put().await.unwrap();
    at("phase-4");
    let e = put().await.unwrap_err();
    assert_eq!(e.class(), crate::store::Class::Halt, "{e}");
    let asked = server.so_far();
    let wants = ["ExternalId=acme-7", "RoleSessionName=gw-0", "Action=AssumeRole"];
    assert!(asked.iter().all(|a| wants.iter().all(|want| a.text.contains(want))), "{asked:?}");
    assert!(asked[0].header("authorization").unwrap().contains("Credential=AKTEST/"));
    let sent = bucket.so_far();
    let token = |asked: &Asked| asked.header("x-amz-security-token") == Some("t0ken");
    assert!(sent.len() == 2 && sent.iter().all(token), "{sent:?}");
}
