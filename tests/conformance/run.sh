#!/usr/bin/env bash
# WebSocket conformance: Autobahn's fuzzingclient against the gateway's handshake and framing
# (gateway/examples/echo.rs), compared with expected.json; then the own raw cases and the clients
# of other make. Autobahn needs Python 2.7: `python2.7` in PATH, or the variable PYTHON27.
#   run.sh             all of it
#   run.sh --bless     Autobahn only, and take what it found as expected
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=tests/conformance
work="${CARGO_TARGET_DIR:-target}/conformance"
site="$work/python2.7"
python="${PYTHON27:-python2.7}"
largest=$((16 * 1024 * 1024)) # what the cases 9.* send

autobahn() {
    mkdir -p "$work"
    if ! cmp -s "$here/requirements.txt" "$site/requirements.txt"; then
        rm -rf "$site"
        "$python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
            --target "$site" --requirement "$here/requirements.txt"
        cp "$here/requirements.txt" "$site/"
    fi
    cargo build --quiet --locked --package frontdesk-gateway --example echo
    coproc echo_server { exec "${CARGO_TARGET_DIR:-target}/debug/examples/echo" --max-message "$largest"; }
    trap 'kill "${echo_server_PID:-}" 2>/dev/null || true' EXIT
    read -r address <&"${echo_server[0]}"
    rm -rf "$work/reports"
    sed -e "s|ADDRESS|$address|" -e "s|REPORTS|$work/reports|" "$here/fuzzingclient.json" >"$work/spec.json"
    # addsitedir, since zope is spread over packages by a .pth file.
    PYTHONPATH="$site" "$python" -W ignore -c \
        "import site; site.addsitedir('$site'); from autobahntestsuite import wstest; wstest.run()" \
        --mode fuzzingclient --spec "$work/spec.json" >"$work/wstest.log" 2>&1 ||
        { tail -n 20 "$work/wstest.log" >&2; return 1; }
    "$python" "$here/compare.py" "$work/reports/index.json" "$here/expected.json" "$@"
}

if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
    autobahn "$@"
elif [ "$#" -gt 0 ]; then
    echo "Autobahn needs Python 2.7: put python2.7 into PATH, or its path into PYTHON27" >&2
    exit 1
else
    echo "Autobahn is left out: it needs Python 2.7 (python2.7 in PATH, or its path in PYTHON27)." >&2
fi
if [ "$#" -eq 0 ]; then
    cargo build --locked --workspace --bins
    cargo test --locked --package frontdesk-gateway --test gateway conformance
    cargo test --locked --package frontdesk-tests --test peers
fi
