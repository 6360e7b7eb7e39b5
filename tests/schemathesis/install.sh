#!/usr/bin/env bash
# Puts schemathesis, as pinned in requirements.txt, into a virtual environment below target/, where
# tests/tests/api/schema.rs finds it. Does nothing if it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

pins=tests/schemathesis/requirements.txt
place="${CARGO_TARGET_DIR:-target}/schemathesis"

if cmp -s "$pins" "$place/requirements.txt"; then
    exit 0
fi
echo "installing schemathesis into $place" >&2
rm -rf "$place"
mkdir -p "$(dirname "$place")"
python3 -m venv "$place"
"$place/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins"
cp "$pins" "$place/requirements.txt"
