#!/usr/bin/env bash
# kubernetes.sh - prints the folder that holds etcd and the programs of Kubernetes, and makes it first where there is none.
#
# KUBEBUILDER_ASSETS, the convention of envtest, names a folder to use as it is. Otherwise etcd comes from Debian's package, and
# Kubernetes is built once from Debian's source package, in some minutes, into the cache. Exit status 3: this machine can't
# have them, for the reason on the last line of standard error. Any other failure is one of this script or of the mirror.

source "$(dirname "$0")/debian.sh"

version=1.20.2
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/knap/kubernetes-$version
go_root=/usr/lib/go-1.19

# Standard output is for the folder alone.
exec 3>&1 1>&2

# use_given - what KUBEBUILDER_ASSETS names.
use_given() {
  local program
  for program in etcd kube-apiserver; do
    [[ -x $KUBEBUILDER_ASSETS/$program ]] ||
      fail "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, and no $program is there: name a folder that has it, or unset it"
  done
  [[ -x $KUBEBUILDER_ASSETS/kube-controller-manager ]] ||
    notice "no kube-controller-manager in $KUBEBUILDER_ASSETS: what needs one is skipped"
  printf '%s\n' "$KUBEBUILDER_ASSETS" >&3
}

check_machine() {
  local free
  [[ $(cat /etc/debian_version 2>/dev/null) == 12* ]] ||
    cannot "Kubernetes $version is built from Debian 12's sources, and this is another system:" \
      "set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver"
  free=$(df --output=avail -BG "$(dirname "$folder")" | tail -n 1 | tr -dc 0-9)
  ((free >= 5)) || cannot "5 GB are needed for building Kubernetes in $(dirname "$folder"), and $free are free"
  [[ -x $go_root/bin/go ]] || ((EUID == 0)) ||
    cannot "building Kubernetes needs packages: run this as root, or apt-get install golang-1.19-go rsync jq dpkg-dev gcc libc6-dev"
}

unpack_kubernetes() {
  mkdir -p "$source_folder" "$work/source"
  (cd "$work/source" && debian_apt source --download-only kubernetes)
  rmdir "$source_folder"
  dpkg-source --no-check -x "$work"/source/kubernetes_*.dsc "$source_folder" >/dev/null
  grep -qF "$version-" <(head -n 1 "$source_folder/debian/changelog") ||
    fail "Debian's source package of Kubernetes is no longer $version: $(head -n 1 "$source_folder/debian/changelog")"
  # The vendored one crashes under Go 1.18 and later.
  unpack_package golang-github-modern-go-reflect2-dev
  rm -rf "$source_folder/vendor/github.com/modern-go/reflect2"
  cp -r "$work/golang-github-modern-go-reflect2-dev/usr/share/gocode/src/github.com/modern-go/reflect2" \
    "$source_folder/vendor/github.com/modern-go/"
}

build_kubernetes() {
  local program flags
  flags="-s -w -X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitVersion=v$version"
  export PATH=$go_root/bin:$PATH GOROOT=$go_root GOPATH=$work/go GOCACHE=$work/go-cache GO111MODULE=off GOFLAGS='' CGO_ENABLED=0
  cd "$source_folder"
  say "generating its OpenAPI definitions"
  make gen_openapi >"$work/log" 2>&1 || build_failed "make gen_openapi"
  for program in "${programs[@]}"; do
    say "building $program"
    go build -ldflags "$flags" -o "$work/made/$program" "k8s.io/kubernetes/cmd/$program" >"$work/log" 2>&1 || build_failed "go build $program"
  done
  cd "$root"
}

# is_whole - whether all programs are there. One that an earlier version of this script made may lack some.
is_whole() {
  local program
  for program in etcd "${programs[@]}"; do
    [[ -x $folder/$program ]] || return
  done
}

build_failed() {
  tail -n 40 "$work/log"
  fail "building Kubernetes $version failed at: $1"
}

make_folder() {
  local begin=$SECONDS
  check_machine
  say "building Kubernetes $version into $folder (once, some minutes)"
  need_packages "$go_root/bin/go:golang-1.19-go" rsync:rsync jq:jq make:make dpkg-source:dpkg-dev patch:patch
  find_sources
  mkdir -p "$work/made"
  unpack_package etcd-server
  cp "$work/etcd-server/usr/bin/etcd" "$work/made/"
  unpack_kubernetes
  build_kubernetes
  # The folder appears whole or not at all.
  rm -rf "$folder"
  mv -T "$work/made" "$folder"
  say "Kubernetes $version is built, in $((SECONDS - begin)) s"
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  use_given
  exit
fi
mkdir -p "$(dirname "$folder")"
# Two clones that need it at once build it once.
exec 4>"$folder.lock"
flock 4
if ! is_whole; then
  work=$(mktemp -d "$folder.XXXXXX")
  source_folder=$work/go/src/k8s.io/kubernetes
  trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
  make_folder
fi
printf '%s\n' "$folder" >&3
