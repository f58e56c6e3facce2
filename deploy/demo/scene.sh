#!/usr/bin/env bash
# scene.sh PROGRAMS DELEGATES MANIFESTS - run by run.sh as the first process of a machine of its own.

set -euo pipefail
programs=$1 delegates=$2 examples=$3
source "$(dirname "$0")/narration.sh"

# All files of this machine: gone with the last of its processes, which end with this one.
mount -t tmpfs tmpfs /run
stage=/run/demo manifests=/run/demo/manifests ledger=/run/demo/ledger
mkdir -p "$manifests" "$ledger"
ip link set lo up
export KNAP_CONFIG=$stage/node.json
resolver_url=http://127.0.0.1:4180 resolver_pid=

finish() {
  local status=$?
  if ((status > 128)); then
    printf '\nInterrupted; nothing of it is left.\n'
  elif ((status)); then
    printf '\n%sThe demo stopped here (status %d).%s\n' "$red$bold" "$status" "$plain"
    tail -n 15 "$stage"/*.log 2>/dev/null || true
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ── The parts ────────────────────────────────────────────────────────────────────────────────────────────────────

start_resolver() {
  local since=$EPOCHREALTIME
  shell knap-resolver serve --store embedded --manifests manifests/ --state state.redb …
  "$programs/knap-resolver" serve --store embedded --manifests "$manifests" --state "$stage/state.redb" \
    --listen 127.0.0.1:4180 --token-file "$stage/token" >>"$stage/resolver.log" 2>&1 &
  resolver_pid=$!
  until is_serving; do
    kill -0 "$resolver_pid" 2>/dev/null || { wait "$resolver_pid" || true; echo "   it ended at once"; return 1; }
    (($(milliseconds "$since") < 15000)) || { echo "   it does not serve after 15 s"; return 1; }
    sleep 0.02
  done
  fact serving "after $(milliseconds "$since") ms, on 127.0.0.1 alone"
}

stop_resolver() {
  shell kill -TERM knap-resolver
  kill -TERM "$resolver_pid"
  wait "$resolver_pid"
}

is_serving() { [[ $(curl -sf --max-time 2 "$resolver_url/v1/status" | jq .ready) == true ]]; }

ask() { curl -sf --max-time 5 -H "Authorization: Bearer $(<"$stage/token")" "$resolver_url$1"; }

# settled NETWORK - the resolver has given it its subnets.
settled() {
  local since=$EPOCHREALTIME
  until [[ $(ask "/v1/networks/$1" | jq .ready) == true ]]; do
    (($(milliseconds "$since") < 10000)) || { ask "/v1/networks/$1"; return 1; }
    sleep 0.02
  done
}

leases() { ask "/v1/attachments?network=$1" | jq length; }

declare -A network_of=() namespace_of=() container_of=() uid_of=()

# pod NAME NAMESPACE NETWORK
pod() {
  network_of[$1]=$3 namespace_of[$1]=$2
  container_of[$1]=$(tr -d - </proc/sys/kernel/random/uuid)$(tr -d - </proc/sys/kernel/random/uuid)
  uid_of[$1]=$(</proc/sys/kernel/random/uuid)
  ip netns add "$1"
  ip -n "$1" link set lo up
}

# cni COMMAND POD - runs knap with the environment and the configuration that Multus gives it.
cni() {
  local pod=$2 network=${network_of[$2]}
  jq -n --arg network "$network" '{cniVersion: "1.0.0", name: ($network | sub("/"; ".")), type: "knap", network: $network,
      capabilities: {mac: true, ips: true, deviceID: true}}' |
    CNI_COMMAND=$1 CNI_CONTAINERID=${container_of[$pod]} CNI_NETNS=/run/netns/$pod CNI_IFNAME=net1 \
      CNI_PATH=$programs:$delegates \
      CNI_ARGS="IgnoreUnknown=true;K8S_POD_NAMESPACE=${namespace_of[$pod]};K8S_POD_NAME=$pod;K8S_POD_UID=${uid_of[$pod]}" \
      "$programs/knap"
}

attach() {
  local pod=$1 since=$EPOCHREALTIME result
  shell "CNI_COMMAND=ADD CNI_NETNS=/run/netns/$pod CNI_IFNAME=net1 knap  <<< {… \"network\": \"${network_of[$pod]}\"}"
  result=$(cni ADD "$pod") || { jq -r .msg <<<"$result"; return 1; }
  fact "in" "$(milliseconds "$since") ms"
  fact class "$(ask "/v1/networks/${network_of[$pod]}" | jq -r '"\(.class)  (provider \(.provider))"')"
  fact bridge "$(ip -json link show type bridge | jq -r --argjson result "$result" \
    'first(.[] | select(.ifname | IN($result.interfaces[].name))) | "\(.ifname)  (\(.ifalias // "no alias"))"')"
  fact address "$(jq -r '[.ips[].address] | join("  ")' <<<"$result")"
  fact mac "$(jq -r 'first(.interfaces[] | select(.name == "net1" and (.sandbox // "") != "")).mac' <<<"$result")"
  expect "the kernel has these addresses on net1 in $pod" \
    is "$(address "$pod" 4) $(address "$pod" 6)" "$(jq -r '[.ips[].address | split("/")[0]] | join(" ")' <<<"$result")"
}

detach() {
  local pod=$1 since=$EPOCHREALTIME result
  shell "CNI_COMMAND=DEL CNI_NETNS=/run/netns/$pod CNI_IFNAME=net1 knap"
  result=$(cni DEL "$pod") || { jq -r .msg <<<"$result"; return 1; }
  expect "DEL succeeds in $(milliseconds "$since") ms, and the interface is gone" has_no_net1 "$pod"
}

has_no_net1() { ! ip -n "$1" link show net1; }

# address POD 4|6 - read back from the kernel, not from what Knap says.
address() {
  ip -n "$1" "-$2" -json address show dev net1 scope global | jq -r 'first(.[].addr_info[] | .local // empty)'
}

reaches() { ip netns exec "$1" ping -c 2 -i 0.05 -W 2 -q "$2"; }
misses() { fails ip netns exec "$1" ping -c 2 -i 0.05 -W 1 -q "$2"; }

# is_refused POD WORDS - ADD fails with code 7 and a message with these words, and leaves no interface.
is_refused() {
  local error
  ! error=$(cni ADD "$1") || return 1
  printf '     %scode %s: %s%s\n' "$dim" "$(jq -r .code <<<"$error")" "$(jq -r .msg <<<"$error")" "$plain" >&3
  [[ $(jq .code <<<"$error") == 7 && $error == *"$2"* ]] && has_no_net1 "$1"
}

ledger_entries() { find "$ledger/attachments" "$ledger/releasing" -type f 2>/dev/null | wc -l; }
own_links() { ip -json link show | jq '[.[] | select((.ifalias // "") | startswith("knap:"))] | length'; }
is() { [[ $1 == "$2" ]] || { echo "is $1, not $2"; return 1; }; }

# ── The scene ────────────────────────────────────────────────────────────────────────────────────────────────────

exec 3>&1
cat >"$KNAP_CONFIG" <<END
{"node": "demo", "stateDir": "$ledger", "log": {"file": "$stage/knap.log"},
 "resolver": {"endpoints": ["$resolver_url"], "tokenFile": "$stage/token"}}
END

step "What the administrator and two developers wrote" "deploy/examples/single-host"
cp "$examples"/*.yaml "$manifests"
for network in blue red; do
  sed -n "/^spec:/,\$ s/^/     /p" "$manifests/$network.yaml" | sed "1s/spec:/$network:/"
done

step "The resolver, on that folder of manifests"
start_resolver
settled shop/blue
settled lab/red
for network in shop/blue lab/red; do
  fact "$network" "$(ask "/v1/networks/$network" | jq -r '"class \(.class), " + ([.subnets[].cidr] | join(", "))')"
done

step "Three pods, which are three network namespaces"
pod web-0 shop shop/blue
pod web-1 shop shop/blue
pod spy lab lab/red
fact pods "$(ip netns list | cut -d' ' -f1 | sort | xargs)"

step "web-0 and web-1 attach to blue, spy to red" "knap is run as Multus runs it; what it is told is the Network's name."
attach web-0
attach web-1
attach spy
expect "all addresses are different" is "$(for name in web-0 web-1 spy; do address "$name" 4; done | sort -u | wc -l)" 3

step "Packets flow inside blue"
expect "web-0 reaches web-1 over IPv4, $(address web-1 4)" reaches web-0 "$(address web-1 4)"
expect "web-0 reaches web-1 over IPv6, $(address web-1 6)" reaches web-0 "$(address web-1 6)"

step "… and not between blue and red" "Even with a route that says red is on this link."
ip -n web-0 route add "$(address spy 4)/32" dev net1
ip -n spy route add "$(address web-0 4)/32" dev net1
expect "web-0 does not reach spy" misses web-0 "$(address spy 4)"
expect "spy does not reach web-0" misses spy "$(address web-0 4)"

step "A pod of another team asks for blue"
pod stranger lab shop/blue
expect "namespace lab is refused, and nothing is made" is_refused stranger shop/blue

step "The resolver stops, and pods still go"
stop_resolver
detach web-0
detach web-1
detach spy
expect "the releases that the resolver has not heard of wait on disk" \
  is "$(find "$ledger/releasing" -type f | wc -l)" 3

step "The resolver is back: what waited is delivered"
start_resolver
expect "until told, it keeps the addresses: nobody else may get them yet" is "$(leases shop/blue) $(leases lab/red)" "2 1"
shell knap reap
fact released "$("$programs/knap" reap | jq .released)"
expect "no lease is left" is "$(leases shop/blue) $(leases lab/red)" "0 0"
expect "no entry is left in the ledger" is "$(ledger_entries)" 0
expect "no link of Knap's is left on the host" is "$(own_links)" 0

printf '\n%sAll %d expectations hold%s, in %d.%01d s. Nothing of this ran on your machine'"'"'s own network.\n' \
  "$bold$green" "$expectations" "$plain" \
  $(($(milliseconds "$began") / 1000)) $(($(milliseconds "$began") % 1000 / 100))
