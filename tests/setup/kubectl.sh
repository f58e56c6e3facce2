#!/usr/bin/env bash
# kubectl.sh - prints the path of a kubectl: of KUBEBUILDER_ASSETS, of this machine, or else Debian's, unpacked into the cache
# and not installed. Exit status 3: this machine can't have one, for the reason on the last line of standard error.

source "$(dirname "$0")/debian.sh"

cached=${XDG_CACHE_HOME:-$HOME/.cache}/knap/kubectl

# Standard output is for the path alone.
exec 3>&1 1>&2

if [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/kubectl ]]; then
  printf '%s\n' "$KUBEBUILDER_ASSETS/kubectl" >&3
  exit
fi
if command -v kubectl >&3; then
  exit
fi
mkdir -p "$(dirname "$cached")"
exec 4>"$cached.lock"
flock 4
if [[ ! -x $cached/kubectl ]]; then
  { command -v apt-get && command -v dpkg-deb; } >/dev/null || cannot "there is no kubectl, and no apt-get to get Debian's"
  work=$(mktemp -d "$cached.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  find_sources
  unpack_package kubernetes-client
  mkdir "$work/made"
  cp "$work/kubernetes-client/usr/bin/kubectl" "$work/made/"
  rm -rf "$cached"
  # The folder appears whole or not at all.
  mv -T "$work/made" "$cached"
fi
printf '%s\n' "$cached/kubectl" >&3
