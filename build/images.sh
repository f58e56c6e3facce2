#!/usr/bin/env bash
# Makes both container images of what ships as tars in target/images, with no container tool and no network: knap-resolver.tar and
# knap-node.tar. KNAP_REGISTRY and KNAP_TAG name registry and tag in their names, otherwise localhost and the version; programs of
# another architecture, built on a machine of it, are added from target/dist-<architecture> (arm64, say).

source "$(dirname "$0")/prerequisites.sh"

registry=${KNAP_REGISTRY:-localhost}
tag=${KNAP_TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
images=$target_dir/images

# architecture MACHINE - as images name it.
architecture() {
  case $1 in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) echo "$1" ;;
  esac
}

# image NAME PROGRAM… - the first program is what runs.
image() {
  local name=$1 folder architecture own
  local -a layers=()
  shift
  own=$(architecture "$(uname -m)")
  for folder in "$target_dir/dist" "$target_dir"/dist-*; do
    [[ -x $folder/$1 ]] || continue
    architecture=${folder##*/dist}
    architecture=${architecture#-}
    architecture=${architecture:-$own}
    mkdir -p "$images/$architecture/$name"
    install -m 0755 "${@/#/$folder/}" "$images/$architecture/$name/"
    layers+=("$architecture=$images/$architecture/$name")
  done
  build/image.sh "$images/$name.tar" "$registry/$name:$tag" "/$1" 65532 "${layers[@]}"
  printf '    %s, %s, %s KiB\n' "$images/$name.tar" "$registry/$name:$tag" "$(($(stat -c %s "$images/$name.tar") / 1024))"
}

build/dist.sh
mkdir -p "$images"
say "images"
image knap-resolver knap-resolver
image knap-node knap-installer knap
