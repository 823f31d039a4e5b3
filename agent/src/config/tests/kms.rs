//! Recipients in KMS: what is accepted, what it means, what is refused.

use super::*;

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";

#[test]
fn a_key_of_kms_is_a_recipient_beside_others() {
    let text = with(&format!(
        "residency: {{regions: [eu-central-1]}}
seal:
  recipients:
    - rsa: /etc/sealtail/archive.pub.pem
    - kms: {KEY}
    - kms: arn:aws:kms:eu-central-1:210987654321:alias/audit
      endpoint: http://127.0.0.1:4566/
      credentials: {{access_key: {{env: AK}}, secret_key: {{file: /k}}}}
      assume_role: {{role_arn: 'arn:aws:iam::210987654321:role/w', endpoint: 'https://sts.example'}}
"
    ));
    let c = good(&text);
    let [Recipient::Rsa(_), Recipient::Kms(first), Recipient::Kms(second)] =
        c.seal.recipients.as_slice()
    else {
        panic!("{:?}", c.seal.recipients)
    };
    assert_eq!((first.key.as_str(), first.key.region()), (KEY, "eu-central-1"));
    assert!(first.endpoint.is_none() && first.credentials.is_none() && first.profile.is_none());
    assert!(second.key.is_alias());
    assert_eq!(second.endpoint.as_deref(), Some("http://127.0.0.1:4566"));
    let role = second.assume_role.as_ref().unwrap();
    assert_eq!(role.role_arn, "arn:aws:iam::210987654321:role/w");
    let keys = c.keys(&env);
    let named = |path: &str| keys.iter().any(|key| key.path == path);
    assert!(named("seal.recipients[2].credentials.access_key"), "{keys:?}");
    assert!(named("seal.recipients[2].credentials.secret_key"), "{keys:?}");

    let report = render_check(&c, &env);
    for words in [
        "# Recipients of the archive",
        "a batch is sealed to all of them or not at all",
        &format!("whoever may use {KEY} in eu-central-1: one kms:GenerateDataKey a batch"),
        ":alias/audit at http://127.0.0.1:4566: one kms:Encrypt a batch",
        "With them the role arn:aws:iam::210987654321:role/w is taken on",
        "While KMS is away or refuses, records wait in the journal",
        &format!("The KMS key {KEY} is in eu-central-1."),
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    assert!(!report.contains("nobody can open the archive again"), "{report}");
    assert_eq!(good(&report).config_hash(), c.config_hash());
}

#[test]
fn a_key_that_is_alone_is_all_there_is() {
    let report =
        render_check(&good(&with(&format!("seal: {{recipients: [{{kms: '{KEY}'}}]}}\n"))), &env);
    assert!(report.contains("when it is destroyed, nobody can open the archive again"), "{report}");
}

#[test]
fn what_is_no_recipient_in_kms() {
    refused(
        &with(
            "residency: {regions: [eu-central-1]}
seal:
  recipients:
    - kms: 1234abcd
    - {kms: 'arn:aws:kms:us-east-1:123456789012:key/a', rsa: /a}
    - kms: arn:aws:kms:us-east-1:123456789012:key/a
      endpoint: http://kms.example:4566
      profile: '[x]'
    - kms: arn:aws:kms:eu-central-1:123456789012:key/a
      allow_insecure: true
      name: x
      profile: audit
      credentials: {access_key: {env: A}, secret_key: {env: B}}
    - {rsa: /a, endpoint: 'https://kms.example', profile: audit}
",
        ),
        "
c.yaml:5:12: seal.recipients[0].kms: `1234abcd` is no ARN of a KMS key
    arn:aws:kms:REGION:ACCOUNT:key/ID, or …:alias/NAME
c.yaml:6:7: seal.recipients[1]: needs exactly one of `rsa`, `aes` and `kms`
    {rsa: /etc/sealtail/archive.pub.pem}
c.yaml:7:12: seal.recipients[2].kms: region us-east-1 is not among residency.regions (eu-central-1)
    a key in one of those, or change residency
c.yaml:8:17: seal.recipients[2].endpoint: is plain http:// to another machine
    write https://, or allow_insecure: true beside it if the way is trusted
c.yaml:9:16: seal.recipients[2].profile: `[x]` is no profile
    its name in ~/.aws/config or ~/.aws/credentials
c.yaml:11:23: seal.recipients[3].allow_insecure: has an effect only beside an http:// endpoint
    delete it
c.yaml:12:13: seal.recipients[3].name: only an `aes` recipient has a name
    delete it
c.yaml:13:16: seal.recipients[3].profile: has no effect beside `credentials`
    keep one of the two
c.yaml:15:27: seal.recipients[4].endpoint: has a meaning for a `kms` recipient only
    delete it
c.yaml:15:59: seal.recipients[4].profile: has a meaning for a `kms` recipient only
    delete it
",
    );
}
