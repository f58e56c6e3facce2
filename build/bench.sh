#!/usr/bin/env bash
# Builds what ships, measures it (tests/benches), and writes target/bench.json and, where there can be a real Kubernetes API,
# target/bench-api.json and target/bench-admission.json.

source "$(dirname "$0")/prerequisites.sh"

((EUID == 0)) || fail "the bench makes network namespaces, and needs root for that: sudo make bench"
need_delegates
build/dist.sh
# Ledgers and stores are synced to disk: a /tmp in memory would flatter them.
work=$target_dir/bench
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work KNAP_BIN_DIR=$target_dir/dist
KNAP_DELEGATES=$delegates_dir KNAP_BENCH_JSON=$target_dir/bench.json \
  cargo bench --locked --quiet -p knap-tests --features tiers,api --bench bench

status=0
KUBEBUILDER_ASSETS=$(tests/setup/kubernetes.sh 2> >(tee "$work/setup" >&2)) || status=$?
if ((status == 3)); then
  echo "skipped: what needs a Kubernetes API: $(tail -n 1 "$work/setup" | sed 's/^error: //')"
elif ((status != 0)); then
  exit "$status"
else
  export KUBEBUILDER_ASSETS
  KNAP_BENCH_API_JSON=$target_dir/bench-api.json \
    cargo bench --locked --quiet -p knap-tests --features tiers,api --bench bench_api
  KNAP_BENCH_JSON=$target_dir/bench-admission.json \
    cargo bench --locked --quiet -p knap-tests --features tiers,api --bench admission
fi
