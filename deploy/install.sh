#!/usr/bin/env bash
# Installs the named Debian packages whose programs are missing: redis-server, haproxy.
# Asks for root only when there is something to install.
set -euo pipefail

PATH="$PATH:/usr/sbin:/usr/local/sbin" # where Debian keeps haproxy

missing=()
for package in "$@"; do
    command -v "$package" >/dev/null || missing+=("$package")
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
