"""Identities and buckets for the tests in the ministack that ministack.sh started.

  iam.py user POLICY-FILE                        prints: ACCESS-KEY SECRET
  iam.py role EXTERNAL-ID POLICY-FILE            prints: ARN (whoever names the external id may take it on)
  iam.py locked-bucket                           prints: BUCKET (versioned, with Object Lock)
  iam.py locks BUCKET                            prints a line for each object: KEY MODE UNTIL, or KEY - -
  iam.py session ACCESS-KEY SECRET SECONDS       prints: ACCESS-KEY SECRET TOKEN (that run out)

The server is the one of SEALTAIL_TEST_S3_ENDPOINT.
"""

import json
import os
import sys
import uuid

import botocore.config
import botocore.session


def client(service, key="test", secret="test"):
    return botocore.session.Session().create_client(
        service, region_name="us-east-1", endpoint_url=os.environ["SEALTAIL_TEST_S3_ENDPOINT"],
        aws_access_key_id=key, aws_secret_access_key=secret,
        # Seconds, where AWS has at least a quarter of an hour.
        config=botocore.config.Config(parameter_validation=False))


def policy(path):
    with open(path, encoding="utf-8") as file:
        return json.dumps(json.load(file))


def main(command, *arguments):
    name = f"test-{uuid.uuid4().hex[:12]}"
    if command == "user":
        iam = client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(arguments[0]))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        print(made["AccessKeyId"], made["SecretAccessKey"])
    elif command == "role":
        external_id, path = arguments
        trust = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}}}]}
        iam = client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(path))
        print(role["Role"]["Arn"])
    elif command == "session":
        key, secret, seconds = arguments
        made = client("sts", key, secret).get_session_token(DurationSeconds=int(seconds))["Credentials"]
        print(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    elif command == "locked-bucket":
        client("s3").create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        print(name)
    elif command == "locks":
        s3 = client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=arguments[0]):
            for entry in page.get("Contents", []):
                head = s3.head_object(Bucket=arguments[0], Key=entry["Key"])
                until = head.get("ObjectLockRetainUntilDate")
                print(entry["Key"], head.get("ObjectLockMode", "-"), until and until.date() or "-")
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
