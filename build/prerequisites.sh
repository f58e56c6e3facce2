# Sourced by the tasks: checks what they need, and installs what apt and rustup can give.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck disable=SC2034
target_dir=${CARGO_TARGET_DIR:-$root/target}
# Where tools are kept that one build of them serves many clones.
# shellcheck disable=SC2034
tools_dir=${XDG_CACHE_HOME:-$HOME/.cache}/knap/tools
# Where the CNI plugins that Knap delegates to are.
delegates_dir=${KNAP_DELEGATES:-/usr/lib/cni}

if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
  PATH=$HOME/.cargo/bin:$PATH
fi

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' blue=$'\e[34m' plain=$'\e[0m'
else
  # shellcheck disable=SC2034
  bold='' dim='' red='' green='' yellow='' blue='' plain=''
fi

say() { printf '%s==>%s %s\n' "$blue$bold" "$plain" "$*"; }
notice() { printf '%snotice:%s %s\n' "$yellow" "$plain" "$*" >&2; }
fail() {
  printf '%serror:%s %s\n' "$red$bold" "$plain" "$*" >&2
  exit 1
}

# need_packages PROGRAM:PACKAGE… - installs the Debian packages of the programs (a name on PATH, or a path) that are
# missing. A machine that has them all needs neither root nor apt.
need_packages() {
  local pair program package missing=()
  for pair in "$@"; do
    program=${pair%%:*} package=${pair#*:}
    [[ $program == /* && -e $program ]] || PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  mapfile -t missing < <(printf "%s\n" "${missing[@]}" | sort -u)
  command -v apt-get >/dev/null ||
    fail "these Debian packages, or what is in them, are missing, and there is no apt-get here: ${missing[*]}"
  ((EUID == 0)) || fail "install these packages, or run this as root so that it does: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  # The lists of a fresh machine are empty or too old for what the mirror has now. Another repository of this machine
  # that does not answer is no reason to stop: the installation says whether these packages were found.
  apt-get update -qq || notice "apt-get update had trouble, see above"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# need_rust - stops, saying how to go on, unless there is a Rust that can build the workspace.
need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  command -v cargo >/dev/null ||
    fail "Rust $wanted or later is needed: https://rustup.rs installs it (curl https://sh.rustup.rs -sSf | sh)"
  found=$(rustc --version | cut -d' ' -f2)
  [[ $(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) == "$wanted" ]] ||
    fail "Rust $wanted or later is needed, and $(command -v rustc) is $found: rustup update stable"
  need_packages cc:gcc /usr/include/stdlib.h:libc6-dev
}

# need_component NAME - a part of the toolchain, clippy or rustfmt, which minimal installations lack.
need_component() {
  cargo "${1/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$1" ||
    fail "Rust's $1 is missing, and rustup can't add it"
}

# need_delegates - Debian's CNI plugins and the tools that tests and demo look at the kernel with.
need_delegates() {
  need_packages "$delegates_dir/bridge:containernetworking-plugins" "$delegates_dir/host-local:containernetworking-plugins" \
    iptables:iptables ip:iproute2 ping:iputils-ping nsenter:util-linux
}

# static_target - prints the target for programs that must run on any Linux; sets nothing.
# musl where rustup has it or can fetch it; else empty, which means glibc linked statically.
static_target() {
  local musl
  musl=$(uname -m)-unknown-linux-musl
  if [[ -d $(rustc --print sysroot)/lib/rustlib/$musl/lib ]] || rustup target add "$musl" >&2; then
    echo "$musl"
  fi
}
