#!/bin/sh
# A real S3 for the tests: ministack on a free loopback port, with an IAM user
# whose secret is checked (the built-in user's is not) and a bucket.
#
#   eval "$(tests/servers/ministack.sh start DIR)"   exports SEALTAIL_TEST_S3_* and SEALTAIL_TEST_KMS_*
#   tests/servers/ministack.sh stop DIR              ends it by its pid
#
# DIR holds pid and log. The package is installed once into a virtual
# environment under ${SEALTAIL_TEST_CACHE:-~/.cache/sealtail-tests}.
set -eu

VERSION=1.5.33
usage() { echo "usage: $0 start|stop DIR" >&2; exit 2; }
[ $# -eq 2 ] || usage
dir=$2

stop() {
    [ -f "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    # Only what we started: the pid may have passed on to somebody else.
    if grep -q ministack "/proc/$pid/cmdline" 2>/dev/null; then kill "$pid"; fi
    rm -f "$dir/pid"
}

start() {
    venv=${SEALTAIL_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealtail-tests}/ministack-$VERSION
    if [ ! -x "$venv/bin/ministack" ]; then
        python3 -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "ministack==$VERSION" >&2
    fi
    mkdir -p "$dir"
    stop
    port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    AUTH=true BIND_HOST=127.0.0.1 GATEWAY_PORT=$port "$venv/bin/ministack" >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    if ! "$venv/bin/python" - "$port" <<'PY'
import json, sys, time, urllib.request
import botocore.session

port = sys.argv[1]
url = f"http://127.0.0.1:{port}"
deadline = time.monotonic() + 30
while True:
    try:
        urllib.request.urlopen(f"{url}/_ministack/health", timeout=2).read()
        break
    except OSError:
        if time.monotonic() > deadline:
            sys.exit("ministack did not come up within 30 s")
        time.sleep(0.1)

def client(service, key, secret):
    session = botocore.session.Session()
    return session.create_client(
        service, region_name="us-east-1", endpoint_url=url,
        aws_access_key_id=key, aws_secret_access_key=secret)

iam = client("iam", "test", "test")
iam.create_user(UserName="sealtail")
iam.put_user_policy(UserName="sealtail", PolicyName="archive", PolicyDocument=json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}))
made = iam.create_access_key(UserName="sealtail")["AccessKey"]
client("s3", made["AccessKeyId"], made["SecretAccessKey"]).create_bucket(Bucket="sealtail-test")
print(f"export SEALTAIL_TEST_S3_ENDPOINT={url}")
print(f"export SEALTAIL_TEST_S3_ACCESS_KEY={made['AccessKeyId']}")
print(f"export SEALTAIL_TEST_S3_SECRET_KEY={made['SecretAccessKey']}")
print("export SEALTAIL_TEST_S3_BUCKET=sealtail-test")
# KMS is on the same port: keys, and who may wrap and who may unwrap with them.
def user(name, actions):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="kms", PolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return f"{made['AccessKeyId']}:{made['SecretAccessKey']}"

kms = client("kms", "test", "test")
keys = {name: kms.create_key()["KeyMetadata"]["Arn"] for name in ("KEY", "SECOND", "DISABLED", "DELETED")}
kms.create_alias(AliasName="alias/audit", TargetKeyId=keys["KEY"])
kms.disable_key(KeyId=keys["DISABLED"])
kms.schedule_key_deletion(KeyId=keys["DELETED"], PendingWindowInDays=7)
print(f"export SEALTAIL_TEST_KMS_ENDPOINT={url}")
for name, arn in keys.items():
    print(f"export SEALTAIL_TEST_KMS_{name}={arn}")
print(f"export SEALTAIL_TEST_KMS_WRITER={user('kms-writer', ['kms:GenerateDataKey', 'kms:Encrypt'])}")
print(f"export SEALTAIL_TEST_KMS_AUDITOR={user('kms-auditor', ['kms:Decrypt'])}")
# With which tests/servers/iam.py makes identities.
print(f"export SEALTAIL_TEST_S3_PYTHON={sys.executable}")
PY
    then
        stop
        exit 1
    fi
}

case $1 in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
