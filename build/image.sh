#!/usr/bin/env bash
# image.sh FILE REFERENCE "PROGRAM ARGUMENT…" USER ARCHITECTURE=FOLDER… - writes a container image as a tar: one layer per
# architecture, which is that folder. It needs no network, no daemon, and no tool besides tar and sha256sum; the same files make the same bytes.
#
# The tar is an OCI layout (podman, skopeo, crane, ctr, nerdctl, k3s) and, for the first architecture, what `docker load` reads.

set -euo pipefail

file=$1 reference=$2 entrypoint=\"${3// /\",\"}\" user=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/image/blobs/sha256"
cd "$work/image"

# pack FILE MEMBER… - a tar that depends on nothing but names, modes and contents.
pack() {
  local output=$1
  shift
  tar --create --file "$output" --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner "$@"
}

# keep PATH - moves a file to where its hash names it; sets `digest` and `size`.
keep() {
  digest=$(sha256sum <"$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "blobs/sha256/$digest"
}

manifests='' docker=''
for pair in "$@"; do
  architecture=${pair%%=*}
  (cd "$OLDPWD" && pack "$work/layer" --directory="${pair#*=}" .)
  keep "$work/layer"
  layer=$digest layer_size=$size
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":[%s],"User":"%s"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$architecture" "$entrypoint" "$user" "$layer" >"$work/config"
  keep "$work/config"
  config=$digest
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"%s","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"%s","digest":"sha256:%s","size":%d}]}' \
    application/vnd.oci.image.config.v1+json "$config" "$size" application/vnd.oci.image.layer.v1.tar "$layer" "$layer_size" >"$work/manifest"
  keep "$work/manifest"
  manifests+=${manifests:+,}$(printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"platform":{"architecture":"%s","os":"linux"}}' \
    "$digest" "$size" "$architecture")
  docker=${docker:-$(printf '[{"Config":"blobs/sha256/%s","RepoTags":["%s"],"Layers":["blobs/sha256/%s"]}]' "$config" "$reference" "$layer")}
done

# The one entry of the outer index, which has the name, is the index of the architectures.
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$manifests" >"$work/index"
keep "$work/index"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:%s","size":%d,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
  "$digest" "$size" "$reference" "$reference" >index.json
printf '{"imageLayoutVersion":"1.0.0"}' >oci-layout
printf '%s' "$docker" >manifest.json
cd "$OLDPWD"
pack "$file" --directory="$work/image" .
