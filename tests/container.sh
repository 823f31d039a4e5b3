#!/usr/bin/env bash
# The image, built and run once by a real Docker engine: tests/container.sh
#
# Without a network, on a read-only root, without capabilities, as the image's own user, it ships the
# sample logs to a directory; then the archive is verified and opened with the same binary outside.
# With BINARY=PATH a static binary that is there already is tested.
#
# The engine is our own: on a private socket, ended by its pid. docker.io is installed when it is
# missing and we are root. Where no engine can be had this says so loudly, and fails under CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

no_engine() {
  printf '\n*** NOT TESTED: the container image. %s\n\n' "$1" >&2
  if [ "${CI:-}" = true ]; then exit 1; fi
  exit 0
}
fail() { echo "FAIL: $1" >&2; exit 1; }
pass() { echo "PASS: $1"; }

# ---- an engine
if ! command -v dockerd >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    no_engine "dockerd is missing, and this is not root on Debian: install docker.io."
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends docker.io; } >/dev/null || no_engine "apt-get install docker.io failed."
fi
if [ "$(id -u)" != 0 ]; then no_engine "dockerd needs root."; fi

work=$(mktemp -d)
engine=
clean() {
  if [ -n "$engine" ]; then
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean EXIT

dockerd --host "unix://$work/docker.sock" --data-root "$work/data" --exec-root "$work/exec" \
  --pidfile "$work/d.pid" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
  --ip-masq=false --userland-proxy=false >"$work/dockerd.log" 2>&1 </dev/null &
engine=$! began=$SECONDS
# The classic builder: images from scratch need nothing else, and Debian ships no buildx.
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0
until docker version >/dev/null 2>&1; do
  if ! kill -0 "$engine" 2>/dev/null || [ "$((SECONDS - began))" -gt 30 ]; then
    tail -n 5 "$work/dockerd.log" >&2
    no_engine "dockerd did not come up; its last lines are above."
  fi
  sleep 0.2
done

# ---- the image
image=sealtail:test-$$
docker/build.sh "$image" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2; fail "docker/build.sh"; }
triple=$(rustc -vV | sed -n 's/^host: //p')
binary=${BINARY:-${CARGO_TARGET_DIR:-target}/$triple/release/sealtail}
[ "$(docker image inspect --format '{{.Config.User}}' "$image")" = 65532:65532 ] || fail "the image runs as root"
pass "image built from scratch: $(docker image inspect --format '{{.Size}}' "$image") bytes, user 65532"
docker run --rm --network none "$image" --version >/dev/null || fail "the binary does not start on scratch"
pass "the static binary starts on scratch"

# ---- keys and configuration; the auditor's key stays outside
"$binary" keygen "$work/etc" >/dev/null
mv "$work/etc/archive.pem" "$work/archive.pem"
cp "$work/etc/signing.pub" "$work/signing.pub"
cat >"$work/etc/sealtail.yaml" <<'YAML'
origin: wa/test/container
sources:
  - type: file
    include: ["/samples/docker/*/*-json.log", "/samples/cri/*.log", "/samples/plain/*.log"]
redact:
  profile: strict
  token_key: {file: /etc/sealtail/token.key}
journal:
  path: /var/lib/sealtail/journal
  max_bytes: 128MiB
  key: {file: /etc/sealtail/journal.key}
seal:
  signing_key: {file: /etc/sealtail/signing.key}
  recipients: [{rsa: /etc/sealtail/archive.pub.pem}]
sinks:
  - name: archive
    type: archive
    url: file:///archive
YAML
mkdir "$work/archive"
chown -R 65532:65532 "$work/etc" "$work/archive"

# ---- one run
agent() {
  docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
    --memory 128m --volume "$PWD/samples:/samples:ro" --volume "$work/etc:/etc/sealtail:ro" \
    --volume "$work/archive:/archive" --volume "sealtail-test-$$:/var/lib/sealtail" "$image" "$@"
}
agent check -c /etc/sealtail/sealtail.yaml >"$work/check.out" 2>&1 \
  || { tail -n 20 "$work/check.out" >&2; fail "check refuses the configuration inside the container"; }
pass "check accepts the configuration inside the container"
agent run -c /etc/sealtail/sealtail.yaml --once >"$work/run.out" 2>&1 \
  || { tail -n 20 "$work/run.out" >&2; fail "run --once inside the container"; }
pass "run --once: no network, read-only root, no capabilities"

# ---- what it left
"$binary" verify "$work/archive" --key "$work/signing.pub" >"$work/verify.out" 2>&1 \
  || { cat "$work/verify.out" >&2; fail "verify on the host"; }
pass "the archive verifies on the host"
"$binary" open "$work/archive" --identity "$work/archive.pem" --key "$work/signing.pub" \
  >"$work/opened.ndjson" 2>"$work/open.err" || { cat "$work/open.err" >&2; fail "open on the host"; }

# kept.json: one key a line, "events" before "one_of".
certain() { sed -n '/^ "events"/,/^ }/s/^  "'"$1"'": \([0-9]*\),\{0,1\}$/\1/p' samples/kept.json; }
for kind in message_received message_status template_status api_request; do
  wanted=$(certain "$kind")
  found=$(grep -c "\"event\":\"$kind\"" "$work/opened.ndjson" || true)
  [ -n "$wanted" ] && [ "$found" -ge "$wanted" ] \
    || fail "$kind: $found records, at least ${wanted:-?} were expected"
done
pass "the opened archive holds the samples' events: $(wc -l <"$work/opened.ndjson") records"

# planted.json: one value a line, between "always" and "by_policy".
sed -n '/^ "always"/,/^ "by_policy"/s/^   "\(.*\)",\{0,1\}$/\1/p' samples/planted.json >"$work/planted"
[ "$(wc -l <"$work/planted")" -gt 500 ] || fail "samples/planted.json was not understood"
for output in opened.ndjson run.out check.out; do
  hits=$(grep -c -F -f "$work/planted" "$work/$output" || true)
  [ "$hits" = 0 ] || fail "$hits lines of $output hold planted personal data in clear"
done
pass "none of $(wc -l <"$work/planted") planted values is in the records or in the agent's log"

agent run -c /etc/sealtail/sealtail.yaml --once >"$work/again.out" 2>&1 \
  || { tail -n 20 "$work/again.out" >&2; fail "a second run --once on the same state"; }
"$binary" verify "$work/archive" --key "$work/signing.pub" >"$work/verify.out" 2>&1 \
  || { cat "$work/verify.out" >&2; fail "verify after the second run"; }
"$binary" open "$work/archive" --identity "$work/archive.pem" --key "$work/signing.pub" \
  >"$work/again.ndjson" 2>"$work/open.err" || { cat "$work/open.err" >&2; fail "open after the second run"; }
for kind in message_received message_status api_request; do
  [ "$(grep -c "\"event\":\"$kind\"" "$work/again.ndjson")" = "$(grep -c "\"event\":\"$kind\"" "$work/opened.ndjson")" ] \
    || fail "the second run shipped $kind again"
done
pass "a second run on the same state ships nothing twice"
