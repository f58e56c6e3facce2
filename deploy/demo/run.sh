#!/usr/bin/env bash
# The whole path on one machine, without Kubernetes: builds Knap and plays deploy/demo/scene.sh.
#
# The scene plays on a machine of its own: namespaces for network, mounts and processes. This machine's links,
# firewall and files are never touched, and whatever way the scene ends, nothing of it is left.

source "$(dirname "$0")/../../build/prerequisites.sh"

((EUID == 0)) || fail "the demo makes network namespaces, and needs root for that: sudo make demo"
need_rust
need_delegates
need_packages jq:jq curl:curl unshare:util-linux
unshare --net --mount --pid --fork true ||
  fail "this container may not make namespaces: run it with more privileges, or on a machine"

say "building knap and knap-resolver"
cargo build --locked --quiet -p knap-cni -p knap-resolver

export PATH=$PATH:/usr/sbin:/sbin
exec unshare --net --mount --pid --mount-proc --fork --kill-child \
  "$root/deploy/demo/scene.sh" "$target_dir/debug" "$delegates_dir" "$root/deploy/examples/single-host"
