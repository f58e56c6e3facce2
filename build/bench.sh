#!/usr/bin/env bash
# Builds what ships, measures it (tests/benches/bench), and writes target/bench.json.

source "$(dirname "$0")/prerequisites.sh"

((EUID == 0)) || fail "the bench makes network namespaces, and needs root for that: sudo make bench"
need_delegates
build/dist.sh
# Ledgers and stores are synced to disk: a /tmp in memory would flatter them.
work=$target_dir/bench
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
TMPDIR=$work KNAP_BIN_DIR=$target_dir/dist KNAP_DELEGATES=$delegates_dir KNAP_BENCH_JSON=$target_dir/bench.json \
  cargo bench --locked --quiet -p knap-tests --features tiers --bench bench
