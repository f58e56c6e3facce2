#!/usr/bin/env bash
# Scripts, formatting, clippy, documentation, and the dependencies' licences, bans, sources and advisories.
# What can't be looked at is reported as skipped, with the reason, on standard output.

source "$(dirname "$0")/prerequisites.sh"

deny_version=0.20.2

# Uses the cargo-deny on PATH, or builds one into the cache.
need_cargo_deny() {
  PATH=$PATH:$tools_dir/bin
  command -v cargo-deny >/dev/null && return
  say "building cargo-deny $deny_version into $tools_dir (once)"
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --version "$deny_version" --root "$tools_dir" cargo-deny
}

check_advisories() {
  local log
  log=$(mktemp)
  if timeout 120 cargo deny fetch db >"$log" 2>&1; then
    cargo deny --offline --all-features check --hide-inclusion-graph advisories
  else
    printf 'SKIPPED cargo deny check advisories: the advisory database can not be reached (%s)\n' \
      "$(grep -m 1 -oE '(fatal|error): .*' "$log" || echo 'no answer within 120 s')"
  fi
  rm -f "$log"
}

need_rust
need_component rustfmt
need_component clippy
need_packages git:git shellcheck:shellcheck

say "shellcheck"
git ls-files '*.sh' .ci/run | xargs shellcheck
say "cargo fmt --check"
cargo fmt --all -- --check
say "clippy, warnings denied"
cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
say "documentation, warnings denied"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked --quiet
need_cargo_deny
say "cargo deny: bans, licences, sources"
# The whole graph, other platforms' crates too, must be on disk before it is judged without a network.
cargo fetch --locked --quiet
cargo deny --offline --all-features check --hide-inclusion-graph bans licenses sources
say "cargo deny: advisories"
check_advisories
say "lint: ok"
