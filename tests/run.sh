#!/usr/bin/env bash
# run.sh TIER… - sets up and runs each tier, says at the end of each what ran, what failed, what was skipped and why.
# Exit status 0: nothing failed. Everything that did not run is in the last table.

source "$(dirname "$0")/../build/prerequisites.sh"

logs=$target_dir/tiers
table=$logs/table
mkdir -p "$logs"
: >"$table"

# record TIER RAN FAILED SKIPPED SECONDS [WHY…] - one row of the last table, and what its reader must know.
record() {
  local tier=$1 ran=$2 failed=$3 skipped=$4 seconds=$5 why
  shift 5
  printf '%-6s %6s %7s %8s %7ss\n' "$tier" "$ran" "$failed" "$skipped" "$seconds" >>"$table"
  for why in "$@"; do
    printf '         %s\n' "$why" >>"$table"
  done
}

# tests TIER COMMAND… - runs a `cargo test` and records what its closing lines say.
tests() {
  local tier=$1 log=$logs/$1.log begin=$SECONDS status=0 ran failed ignored
  local -a why
  shift
  "$@" 2>&1 | tee "$log" || status=$?
  read -r ran failed ignored < <(awk '
    /^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END { print passed + failed, failed + 0, ignored + 0 }' "$log")
  mapfile -t why < <(
    sed -n 's/^    \([^ ]*\)$/failed: \1/p' "$log" | sort -u
    sed -n 's/^test \(.*\) \.\.\. ignored/skipped: \1/p' "$log"
    cat "$logs/$tier.skipped" 2>/dev/null
  )
  ignored=$((ignored + $(wc -l 2>/dev/null <"$logs/$tier.skipped" || echo 0)))
  if ((status != 0 && failed == 0)); then
    failed=1 why+=("failed: the command, not a test: $* (see $log)")
  elif ((ran == 0)); then
    failed=1 why+=("failed: no test ran, which is no pass")
  fi
  record "$tier" "$ran" "$failed" "$ignored" $((SECONDS - begin)) "${why[@]}"
}

# One set of packages and features for all that is built here, so that nothing is compiled twice.
workspace=(--locked --workspace --features knap-cni/fault-points,knap-resolver/fault-points)

# The programs that the cni, netns and api tiers run.
build_programs() {
  say "building the programs, with fault points"
  cargo build "${workspace[@]}"
}

tier_lint() {
  local log=$logs/lint.log begin=$SECONDS failed=0 steps
  local -a why
  build/lint.sh 2>&1 | tee "$log" || failed=1
  steps=$(grep -cE '^==> (cargo fmt|clippy|documentation|cargo deny:)' "$log") || steps=0
  mapfile -t why < <(sed -n 's/^SKIPPED /skipped: /p' "$log")
  ((failed == 0)) || why+=("failed: see $log")
  record lint $((steps - ${#why[@]} + failed)) "$failed" $((${#why[@]} - failed)) $((SECONDS - begin)) "${why[@]}"
}

tier_unit() {
  # As root, a test that needs root may not skip itself.
  ((EUID != 0)) || export KNAP_REQUIRE_ROOT=1
  tests unit cargo test "${workspace[@]}" --no-fail-fast
}

tier_cni() {
  need_packages ip:iproute2 nsenter:util-linux
  build_programs
  tests cni cargo test "${workspace[@]}" --features knap-tests/tiers --test 'cni_*' --no-fail-fast
}

tier_netns() {
  local -a skips=()
  need_delegates
  build_programs
  # Only here may a part of the tier be missing: what this kernel does not have.
  if ! unshare --net ip link add probe type bridge; then
    record netns 0 0 all 0 "skipped: this kernel has no bridges, or this container may not make them"
    return
  fi
  if ! unshare --net sh -c 'ip link add wire type veth peer name port && ip link add probe link wire type macvlan'; then
    skips=(--skip macvlan)
    echo "skipped: the tests named macvlan: this kernel has no macvlan" >"$logs/netns.skipped"
  fi
  tests netns cargo test "${workspace[@]}" --features knap-tests/tiers --test 'netns_*' --no-fail-fast -- "${skips[@]}"
}

tier_api() {
  local status=0
  local -a skips=()
  tests/setup/kubernetes.sh 2>&1 >"$logs/api.assets" | tee "$logs/api.setup" >&2 || status=${PIPESTATUS[0]}
  if ((status == 3)); then
    record api 0 0 all 0 "skipped: $(tail -n 1 "$logs/api.setup" | sed 's/^error: //')"
    return
  fi
  ((status == 0)) || return "$status"
  KUBEBUILDER_ASSETS=$(<"$logs/api.assets")
  export KUBEBUILDER_ASSETS
  status=0
  KNAP_KUBECTL=$(tests/setup/kubectl.sh 2> >(tee "$logs/api.kubectl" >&2)) || status=$?
  export KNAP_KUBECTL
  if ((status == 3)); then
    skips=(--skip kubectl)
    echo "skipped: the tests named kubectl: $(tail -n 1 "$logs/api.kubectl" | sed 's/^error: //')" >"$logs/api.skipped"
  elif ((status != 0)); then
    return "$status"
  fi
  build_programs
  tests api cargo test --locked -p knap-tests --features api --test 'api_*' --no-fail-fast -- "${skips[@]}"
}

need_rust
for tier in "$@"; do
  declare -F "tier_$tier" >/dev/null || fail "no tier is named $tier; there are: $(declare -F | sed -n 's/.*tier_//p' | xargs)"
done
for tier in "$@"; do
  printf '\n%s━━ %s%s\n' "$bold" "$tier" "$plain"
  rm -f "$logs/$tier.skipped"
  case $tier in
    cni | netns)
      if ((EUID != 0)); then
        record "$tier" 0 0 all 0 "skipped: makes network namespaces, and needs root for that"
        continue
      fi
      ;;
  esac
  # A tier's set-up may fail as well as its tests; the tiers after it still run.
  rows=$(wc -l <"$table")
  set +e
  (
    set -e
    "tier_$tier"
  )
  set -e
  (($(wc -l <"$table") > rows)) || record "$tier" 0 1 0 0 "failed: its set-up, see above"
done

printf '\n%s%-6s %6s %7s %8s %8s%s\n' "$bold" tier ran failed skipped time "$plain"
cat "$table"
failed_tiers=$(awk '/^[a-z]/ && $3 > 0 { print $1 }' "$table" | xargs)
if [[ -n $failed_tiers ]]; then
  printf '\n%sFAILED%s: %s\n' "$red$bold" "$plain" "$failed_tiers"
  exit 1
fi
printf '\n%sok%s\n' "$green$bold" "$plain"
