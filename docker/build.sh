#!/usr/bin/env bash
# Builds the image: docker/build.sh [TAG]        (default tag: sealtail:dev)
#
# First the static binary, then a context with nothing else in it, then the image. Needs Rust, a C
# compiler, CA certificates and a Docker engine (DOCKER_HOST is obeyed). With BINARY=PATH a static
# binary that is there already is taken.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:-sealtail:dev}
target_dir=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')

if [ -z "${BINARY:-}" ]; then
  # --target keeps the flag away from build scripts and procedural macros.
  RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --target "$triple" --package sealtail --bin sealtail
  BINARY=$target_dir/$triple/release/sealtail
fi
if ldd "$BINARY" 2>/dev/null | grep -q '=>'; then
  echo "docker/build.sh: $BINARY is not static; build it with RUSTFLAGS='-C target-feature=+crt-static' and --target" >&2
  exit 1
fi

certs=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ ! -s "$certs" ]; then
  echo "docker/build.sh: no CA certificates at $certs; install ca-certificates or set SSL_CERT_FILE" >&2
  exit 1
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -D -m 0755 "$BINARY" "$context/rootfs/usr/bin/sealtail"
install -D -m 0644 "$certs" "$context/rootfs/etc/ssl/certs/ca-certificates.crt"
install -D -m 0644 config/sealtail.yaml "$context/rootfs/etc/sealtail/sealtail.yaml"
install -d -m 1777 "$context/rootfs/tmp"
install -d -m 0755 "$context/rootfs/var/lib"
install -d -m 0700 "$context/state/sealtail"
echo 'sealtail:x:65532:65532:sealtail:/var/lib/sealtail:/sbin/nologin' >"$context/rootfs/etc/passwd"
echo 'sealtail:x:65532:' >"$context/rootfs/etc/group"
# Without it the static resolver asks DNS before /etc/hosts.
echo 'hosts: files dns' >"$context/rootfs/etc/nsswitch.conf"

docker build --file docker/Dockerfile --tag "$tag" "$context"
echo "built $tag"
