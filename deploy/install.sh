#!/usr/bin/env bash
# Installs the named Debian packages that are missing: redis-server, haproxy, and the WebSocket libraries
# that the tests use. Asks for root only when there is something to install.
set -euo pipefail

PATH="$PATH:/usr/sbin:/usr/local/sbin" # where Debian keeps haproxy

# Whether a package's program is there, or its library where Debian puts it or anywhere else.
present() {
    case "$1" in
    node-ws) NODE_PATH=/usr/share/nodejs node --eval 'require("ws")' ;;
    python3-websockets) python3 -c 'import websockets' || /usr/bin/python3 -c 'import websockets' ;;
    libmojolicious-perl) perl -MMojo::UserAgent -e1 ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing=()
for package in "$@"; do
    present "$package" || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}; install them with this system's package manager" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
echo "installing ${missing[*]}" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
