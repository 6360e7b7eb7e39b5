#!/usr/bin/env bash
# Installs what is named and missing: Debian packages (redis-server, haproxy, git, openssl, the WebSocket libraries, Node,
# TypeScript and Chromium that the tests use), and cargo-deny from crates.io. Asks for root only when there is a package to install.
set -euo pipefail

# Where Debian keeps haproxy, and cargo what it installs.
PATH="$PATH:/usr/sbin:/usr/local/sbin:${CARGO_HOME:-$HOME/.cargo}/bin"
readonly CARGO_DENY=0.20.2

# Whether a package's program is there, or its library where Debian puts it or anywhere else.
present() {
    case "$1" in
    nodejs) command -v node ;;
    node-typescript) command -v tsc ;;
    node-ws) NODE_PATH=/usr/share/nodejs node --eval 'require("ws")' ;;
    python3-websockets) python3 -c 'import websockets' || /usr/bin/python3 -c 'import websockets' ;;
    python3-venv) python3 -c 'import ensurepip, venv' ;;
    libmojolicious-perl) perl -MMojo::UserAgent -e1 ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing=()
for name in "$@"; do
    if present "$name"; then
        continue
    elif [ "$name" = cargo-deny ]; then
        # Without optimization: it runs for a second, and is built on every fresh machine.
        echo "installing cargo-deny $CARGO_DENY" >&2
        cargo install --quiet --locked --debug "cargo-deny@$CARGO_DENY"
    else
        missing+=("$name")
    fi
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
