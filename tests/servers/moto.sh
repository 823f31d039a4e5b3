#!/bin/sh
# Another real KMS for the tests: moto on a free loopback port, with two keys. It
# refuses altered ciphertexts and other contexts, which ministack does not do
# in full; it lets disabled keys work, and checks no credentials.
#
#   eval "$(tests/servers/moto.sh start DIR)"   exports SEALTAIL_TEST_MOTO_*
#   tests/servers/moto.sh stop DIR              ends it by its pid
#
# DIR holds pid and log. The package is installed once into a virtual
# environment under ${SEALTAIL_TEST_CACHE:-~/.cache/sealtail-tests}.
set -eu

VERSION=5.2.5
usage() { echo "usage: $0 start|stop DIR" >&2; exit 2; }
[ $# -eq 2 ] || usage
dir=$2

stop() {
    [ -f "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    # Only what we started: the pid may have passed on to somebody else.
    if grep -q moto_server "/proc/$pid/cmdline" 2>/dev/null; then kill "$pid"; fi
    rm -f "$dir/pid"
}

start() {
    venv=${SEALTAIL_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealtail-tests}/moto-$VERSION
    if [ ! -e "$venv/ready" ]; then
        python3 -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "moto[server,kms]==$VERSION" >&2
        touch "$venv/ready"
    fi
    mkdir -p "$dir"
    stop
    port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    if ! "$venv/bin/python" - "$port" <<'PY'
import sys, time, urllib.request
import botocore.session

url = f"http://127.0.0.1:{sys.argv[1]}"
deadline = time.monotonic() + 30
while True:
    try:
        urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=2).read()
        break
    except OSError:
        if time.monotonic() > deadline:
            sys.exit("moto did not come up within 30 s")
        time.sleep(0.1)

def key(region):
    kms = botocore.session.Session().create_client(
        "kms", region_name=region, endpoint_url=url,
        aws_access_key_id="test", aws_secret_access_key="test")
    return kms, kms.create_key()["KeyMetadata"]["Arn"]

kms, first = key("us-east-1")
kms.create_alias(AliasName="alias/audit", TargetKeyId=first)
print(f"export SEALTAIL_TEST_MOTO_ENDPOINT={url}")
print(f"export SEALTAIL_TEST_MOTO_KEY={first}")
print(f"export SEALTAIL_TEST_MOTO_SECOND={key('eu-west-1')[1]}")
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
