#!/usr/bin/env bash
# A whole cluster on this machine, to try out: one Redis of its own with the shipped
# configuration, two gateways, two workers. Ctrl-C ends all of it.
#
# Data and logs are in run/ (or FRONTDESK_RUN_DIR) and survive; other FRONTDESK_* variables reach
# the programs, for example: FRONTDESK_IDLE_S=20 make run
# FRONTDESK_BIN_DIR names programs that are built already.
#
# The children are in sessions of their own, so the terminal's Ctrl-C reaches only this script and
# the order of stopping is ours: gateways, workers, Redis. Should this script itself be killed, the
# kernel ends them (setpriv --pdeathsig).
set -euo pipefail

# Seconds until a program that was asked to stop is killed; together less than ten.
readonly STOP_GATEWAYS=5 STOP_WORKERS=2 STOP_REDIS=2
readonly START_WITHIN=30

cd "$(dirname "${BASH_SOURCE[0]}")/.."
run_dir=${FRONTDESK_RUN_DIR:-$PWD/run}
unset FRONTDESK_SECRET FRONTDESK_SECRET_FILE # contradict --open
export NO_COLOR=1      # the logs are files

gateways=() workers=() redis=() # process ids
declare -A name_of log_of       # by process id
taken=""                        # ports given out already

say() { printf '%s\n' "$*"; }
fail() {
    printf 'run: %s\n' "$*" >&2
    exit 1
}

# Whether something listens on the port.
busy() {
    [[ $taken == *" $1 "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Sets `port` to the first free port from $1 on.
free_port() {
    port=$1
    while busy "$port"; do port=$((port + 1)); done
    taken+=" $port "
}

# start <name> <program> <arguments>: sets `pid`.
start() {
    local name=$1
    shift
    local log=$run_dir/$name.log
    setsid setpriv --pdeathsig TERM -- "$@" </dev/null >"$log" 2>&1 &
    pid=$!
    name_of[$pid]=$name
    log_of[$pid]=$log
}

alive() { kill -0 "$1" 2>/dev/null; }

# Asks the processes $2... to stop and waits $1 seconds; then kills what is left.
stop() {
    local patience=$1 pid
    shift
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    local deadline=$((SECONDS + patience))
    for pid in "$@"; do
        while alive "$pid" && ((SECONDS < deadline)); do sleep 0.1; done
        if alive "$pid"; then
            say "${name_of[$pid]} did not stop in ${patience}s and is killed"
            kill -KILL "$pid" 2>/dev/null || true
        fi
    done
    for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}

stop_all() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if ((${#gateways[@]} + ${#workers[@]} + ${#redis[@]} > 0)); then
        say "stopping"
        stop "$STOP_GATEWAYS" "${gateways[@]}"
        stop "$STOP_WORKERS" "${workers[@]}"
        stop "$STOP_REDIS" "${redis[@]}"
        say "stopped; data and logs are in $run_dir"
    fi
    exit "$status"
}
trap stop_all EXIT
trap 'exit 0' INT TERM HUP

# Tells which process has ended, and its last words.
report_death() {
    printf 'run: %s has ended. The end of %s:\n' "${name_of[$1]}" "${log_of[$1]}" >&2
    tail -n 20 "${log_of[$1]}" >&2
    exit 1
}

# wait_until <process id> <check...>: until the check succeeds; fails if the process ends.
wait_until() {
    local pid=$1 deadline=$((SECONDS + START_WITHIN))
    shift
    until "$@"; do
        alive "$pid" || report_death "$pid"
        ((SECONDS < deadline)) || {
            tail -n 20 "${log_of[$pid]}" >&2
            fail "${name_of[$pid]} is not ready after ${START_WITHIN}s; see ${log_of[$pid]}"
        }
        sleep 0.1
    done
}

redis_answers() { [ "$(redis-cli -p "$1" ping 2>/dev/null)" = PONG ]; }

# Whether GET /readyz on the port of this machine is answered by 200.
ready() {
    local status=""
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
        read -r -t 2 _ status _ <&3 || true
        exec 3>&-
    } 2>/dev/null
    [ "$status" = 200 ]
}

deploy/install.sh redis-server
if [ -n "${FRONTDESK_BIN_DIR:-}" ]; then # programs that are built already
    bin=$FRONTDESK_BIN_DIR
else
    cargo build --release --locked --bin frontdesk-gateway --bin frontdesk-worker
    bin=${CARGO_TARGET_DIR:-target}/release
fi

mkdir -p "$run_dir/redis"
run_dir=$(cd "$run_dir" && pwd)
exec 9>"$run_dir/lock"
flock -n 9 || fail "another cluster runs in $run_dir; stop it, or set FRONTDESK_RUN_DIR to another directory"

# A torn end inside of a transaction, which Redis itself does not cut off whole: docs/OPERATIONS.md.
manifest=$run_dir/redis/appendonlydir/appendonly.aof.manifest
[ ! -e "$manifest" ] || redis-check-aof --fix "$manifest" <<<y >"$run_dir/redis-check-aof.log" ||
    fail "the data in $run_dir/redis cannot be read; see $run_dir/redis-check-aof.log"
free_port 6390
redis_port=$port
start redis redis-server deploy/redis.conf --port "$redis_port" --dir "$run_dir/redis"
redis=("$pid")
wait_until "$pid" redis_answers "$redis_port"
url=redis://127.0.0.1:$redis_port/

ready_at=() # "<process id> <port>" of what must be ready
for n in 1 2; do
    free_port $((9590 + n))
    start "worker$n" "$bin/frontdesk-worker" --redis-url "$url" \
        --metrics-listen "127.0.0.1:$port" --log-format text
    workers+=("$pid")
    ready_at+=("$pid $port")
done
addresses=()
for n in 1 2; do
    free_port $((9594 + n))
    metrics=$port
    free_port $((9501 + n))
    start "gateway$n" "$bin/frontdesk-gateway" --open --redis-url "$url" \
        --listen "127.0.0.1:$port" --metrics-listen "127.0.0.1:$metrics" \
        --drain-timeout-s 3 --log-format text
    gateways+=("$pid")
    ready_at+=("$pid $port")
    addresses+=("ws://127.0.0.1:$port/")
done
for entry in "${ready_at[@]}"; do
    wait_until "${entry% *}" ready "${entry#* }"
done

say ""
say "Frontdesk is ready. Open mode: anybody may be anybody, so it listens on this machine only."
say ""
for address in "${addresses[@]}"; do say "  $address"; done
say ""
say "Try it in two terminals. Staff:      websocat ${addresses[1]}"
say ""
say '{"action":"staffOnline","payload":{"name":"客服1"}}'
say ""
say "and a customer on the other gateway: websocat ${addresses[0]}"
say ""
say '{"action":"customerConnect"}'
say '{"action":"message","payload":{"message":"你好"}}'
say ""
for pid in "${redis[@]}" "${workers[@]}" "${gateways[@]}"; do say "  ${name_of[$pid]}: ${log_of[$pid]}"; done
say ""
say "Ctrl-C ends it."

wait -n -p died "${redis[@]}" "${workers[@]}" "${gateways[@]}" || true
report_death "$died"
