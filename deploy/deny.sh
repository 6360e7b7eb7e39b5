#!/usr/bin/env bash
# Holds the dependencies against deny.toml: licences, sources, versions, and known vulnerabilities
# where their database can be had. Arguments go to `cargo deny`: another --config or --manifest-path.
#
# The database is a git repository, RustSec's on GitHub unless deny.toml names another. Where it
# cannot be fetched a copy from an earlier run counts, for as long as cargo-deny calls it fresh (90
# days). Without one the check says loudly that nobody looked for vulnerabilities, and goes on.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
readonly FETCH_WITHIN=60 # seconds

deny() { cargo deny --locked "${options[@]}" "$@"; }
options=("$@")

deny check --hide-inclusion-graph bans licenses sources

export GIT_TERMINAL_PROMPT=0
if why=$(timeout "$FETCH_WITHIN" cargo deny --locked "${options[@]}" fetch db 2>&1); then
    fetched=1
else
    fetched=0
fi
# The crates are here by now, so nothing is fetched beside the database.
if found=$(deny --offline check advisories 2>&1); then
    printf '%s\n' "$found"
    [ "$fetched" = 1 ] || echo "advisories: held against an earlier copy of the database" >&2
elif [ "$fetched" = 1 ] || grep -q 'advisories FAILED' <<<"$found"; then
    printf '%s\n' "$found" >&2
    exit 1
else
    why=$(grep -m1 -E '^fatal' <<<"$why" || tail -n 1 <<<"$why")
    echo "ADVISORIES NOT CHECKED: no database of vulnerabilities (${why:-not within ${FETCH_WITHIN}s})" >&2
fi
