#!/usr/bin/env bash
# Builds what ships into target/dist, all of it static: for any Linux host, and for containers with nothing else in them.

source "$(dirname "$0")/prerequisites.sh"

dist=$target_dir/dist

build_static() {
  local profile=$1 package=$2 target=$3 gnu
  if [[ -n $target ]]; then
    cargo build --locked --profile "$profile" --target "$target" -p "$package"
  else
    gnu=$(uname -m)-unknown-linux-gnu
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$gnu" -p "$package"
  fi
}

put() {
  install -D -m 0755 "$1" "$dist/.new" && mv -f "$dist/.new" "$dist/$(basename "$1")"
}

need_rust
target=$(static_target)
if [[ -n $target ]]; then
  need_packages musl-gcc:musl-tools
else
  notice "rustup can't fetch the musl target: linking glibc statically instead"
fi
need_packages readelf:binutils

say "knap (profile plugin, static) and knap-installer (static)"
build_static plugin knap-cni "$target"
build_static release knap-installer "$target"
say "knap-resolver (static)"
# musl's allocator serialises threads: what serves many at once is linked with glibc's.
build_static release knap-resolver ""

built=$target_dir/${target:-$(uname -m)-unknown-linux-gnu}
put "$built/plugin/knap"
put "$built/release/knap-installer"
put "$target_dir/$(uname -m)-unknown-linux-gnu/release/knap-resolver"

for static in knap knap-installer knap-resolver; do
  if readelf --program-headers "$dist/$static" | grep -q INTERP; then
    fail "$dist/$static is not static"
  fi
done
say "in $dist"
for program in knap knap-resolver knap-installer; do
  printf '    %-15s %5d KiB\n' "$program" "$(($(stat -c %s "$dist/$program") / 1024))"
done
