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

# failures LOG - each test that failed, with where it panicked and what it said first.
failures() {
  awk '
    /^test .* \.\.\. FAILED$/ { sub(/^test /, ""); sub(/ \.\.\. FAILED$/, ""); names[++count] = $0 }
    /^---- .* stdout ----$/ { sub(/^---- /, ""); sub(/ stdout ----$/, ""); name = $0 }
    told { why[name] = why[name] ": " substr($0, 1, 300); told = 0 }
    / panicked at / && !(name in why) { sub(/.* panicked at /, ""); sub(/:$/, ""); why[name] = " at " $0; told = 1 }
    END { for (i = 1; i <= count; i++) print "failed: " names[i] why[names[i]] }' "$1"
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
    failures "$log"
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
workspace=(--locked --workspace --features "knap-cni/fault-points,knap-installer/fault-points,knap-resolver/fault-points")

# The programs that all tiers but the first two run.
build_programs() {
  say "building the programs, with fault points"
  cargo build "${workspace[@]}"
}

tier_lint() {
  local log=$logs/lint.log begin=$SECONDS failed=0 steps
  local -a why
  build/lint.sh 2>&1 | tee "$log" || failed=1
  steps=$(grep -cE '^==> (cargo fmt|clippy|documentation|cargo deny:|shellcheck)' "$log") || steps=0
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

# setup TIER NAME - runs tests/setup/NAME.sh and sets `made` to what it prints. Status 1: this machine can't have that, for the
# `reason`. Any other failure ends the tier.
setup() {
  local tier=$1 log=$logs/$1.$2 status=0
  "tests/setup/$2.sh" 2>&1 >"$log.made" | tee "$log" >&2 || status=${PIPESTATUS[0]}
  made=$(<"$log.made")
  if ((status == 3)); then
    reason=$(tail -n 1 "$log" | sed 's/^error: //')
    return 1
  fi
  ((status == 0)) || exit "$status"
}

# setup_kubernetes TIER - what a Kubernetes API needs, in the environment.
setup_kubernetes() {
  setup "$1" kubernetes || return
  export KUBEBUILDER_ASSETS=$made
  KNAP_KUBECTL=''
  if setup "$1" kubectl; then
    KNAP_KUBECTL=$made
  fi
  export KNAP_KUBECTL
}

tier_api() {
  local -a skips=()
  if ! setup_kubernetes api; then
    record api 0 0 all 0 "skipped: $reason"
    return
  fi
  if [[ -z $KNAP_KUBECTL ]]; then
    skips=(--skip kubectl)
    echo "skipped: the tests named kubectl: $reason" >"$logs/api.skipped"
  fi
  build_programs
  tests api cargo test --locked -p knap-tests --features api --test 'api_*' --no-fail-fast -- "${skips[@]}"
}

# node_obstacle - says why no node can run on this machine; nothing where one can.
node_obstacle() {
  local program
  for program in kube-controller-manager kube-scheduler kubelet kube-proxy; do
    [[ -x $KUBEBUILDER_ASSETS/$program ]] || { echo "no $program is in $KUBEBUILDER_ASSETS" && return; }
  done
  [[ -n $KNAP_KUBECTL ]] || { echo "$reason" && return; }
  unshare --mount --pid --net --fork sh -c 'mount -t tmpfs tmpfs /mnt && mount -t proc proc /proc && mount -t sysfs sysfs /sys' 2>/dev/null ||
    { echo "this container may not mount, or make no namespaces" && return; }
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    # Where this is not the root of all groups, processes in it forbid it.
    echo '+cpuset +cpu +io +memory +pids' 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control ||
      { echo "the cgroups here can't be divided, as a kubelet needs it" && return; }
  else
    for program in cpu cpuset memory pids; do
      { mkdir "/sys/fs/cgroup/$program/knap-probe" && rmdir "/sys/fs/cgroup/$program/knap-probe"; } 2>/dev/null ||
        { echo "no cgroups can be made in /sys/fs/cgroup/$program, as a kubelet needs it" && return; }
    done
  fi
}

tier_node() {
  local -a skips=()
  need_delegates
  need_packages setpriv:util-linux sysctl:procps
  if ! setup_kubernetes node || ! setup node node; then
    record node 0 0 all 0 "skipped: $reason"
    return
  fi
  export KNAP_NODE_TOOLS=$made
  reason=$(node_obstacle)
  if [[ -n $reason ]]; then
    record node 0 0 all 0 "skipped: $reason"
    return
  fi
  if setup node chart-renderer; then
    export KNAP_CHART_RENDERER=$made
  else
    skips=(--skip chart)
    echo "skipped: the tests named chart: $reason" >"$logs/node.skipped"
  fi
  if [[ -z ${MULTUS_BIN:-} ]] && MULTUS_BIN=$(command -v multus); then
    export MULTUS_BIN
  fi
  say "pods' networks are attached by ${MULTUS_BIN:-a stand-in for Multus}"
  build_programs
  tests node cargo test --locked -p knap-tests --features api --test 'node_*' --no-fail-fast -- "${skips[@]}"
}

need_rust
for tier in "$@"; do
  declare -F "tier_$tier" >/dev/null || fail "no tier is named $tier; there are: $(declare -F | sed -n 's/.*tier_//p' | xargs)"
done
for tier in "$@"; do
  printf '\n%s━━ %s%s\n' "$bold" "$tier" "$plain"
  rm -f "$logs/$tier.skipped"
  case $tier in
    cni | netns | node)
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
