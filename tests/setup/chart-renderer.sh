#!/usr/bin/env bash
# chart-renderer.sh - prints the path of a program that renders a Helm chart, and builds it first where there is none, from
# chart-renderer/ with Debian's Go and sprig, the functions that Helm gives to templates. Exit status 3: this machine can't have it,
# for the reason on the last line of standard error.

source "$(dirname "$0")/debian.sh"

sources=$root/tests/setup/chart-renderer
packages=(
  golang-github-masterminds-sprig-dev golang-github-google-uuid-dev golang-github-huandu-xstrings-dev golang-github-imdario-mergo-dev
  golang-github-masterminds-goutils-dev golang-github-masterminds-semver-dev golang-github-mitchellh-copystructure-dev
  golang-github-mitchellh-reflectwalk-dev golang-github-shopspring-decimal-dev golang-github-spf13-cast-dev
  golang-golang-x-crypto-dev golang-golang-x-sys-dev golang-gopkg-yaml.v3-dev
)
go_root=/usr/lib/go-1.19
# Made anew whenever its source is another.
cached=${XDG_CACHE_HOME:-$HOME/.cache}/knap/chart-renderer-$(sha256sum "$sources/main.go" | cut -c1-12)

# Standard output is for the path alone.
exec 3>&1 1>&2

build() {
  local package
  [[ $(cat /etc/debian_version 2>/dev/null) == 12* ]] || cannot "the chart's renderer is built from Debian 12's packages, and there is no helm"
  [[ -x $go_root/bin/go ]] || ((EUID == 0)) ||
    cannot "building the chart's renderer needs packages: run this as root, or apt-get install golang-1.19-go"
  need_packages "$go_root/bin/go:golang-1.19-go"
  say "building a renderer of Helm charts into $cached (once)"
  work=$(mktemp -d "$cached.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  find_sources
  mkdir -p "$work/go/src/chart-renderer"
  (cd "$work" && debian_apt download "${packages[@]}")
  for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/unpacked"
  done
  cp -r "$work/unpacked/usr/share/gocode/src" "$work/go/"
  cp "$sources/main.go" "$work/go/src/chart-renderer/"
  # With this, Go outside modules finds sprig/v3 in the folder of sprig.
  echo "module chart-renderer" >"$work/go/src/chart-renderer/go.mod"
  (
    export GOROOT=$go_root GOPATH=$work/go GOCACHE=$work/go-cache GO111MODULE=off GOFLAGS='' CGO_ENABLED=0
    cd "$work/go/src/chart-renderer"
    "$go_root/bin/go" build -o "$work/made" .
  )
  mv -T "$work/made" "$cached"
}

mkdir -p "$(dirname "$cached")"
exec 4>"$cached.lock"
flock 4
[[ -x $cached ]] || build
printf '%s\n' "$cached" >&3
