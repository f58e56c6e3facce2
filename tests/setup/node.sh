#!/usr/bin/env bash
# node.sh - prints a folder with what a node runs besides Kubernetes: containerd, its shim, ctr and runc, and a static busybox for
# images. They are Debian's, unpacked into the cache and not installed: no daemon of theirs is started on this machine. Exit
# status 3: this machine can't have them, for the reason on the last line of standard error.

source "$(dirname "$0")/debian.sh"

packages=(containerd runc busybox-static conntrack)
programs=(containerd containerd-shim-runc-v2 ctr runc busybox conntrack)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/knap/node-debian12

# Standard output is for the folder alone.
exec 3>&1 1>&2

is_whole() {
  local program
  for program in "${programs[@]}"; do
    [[ -x $folder/$program ]] || return
  done
}

make_folder() {
  local package program
  [[ $(cat /etc/debian_version 2>/dev/null) == 12* ]] ||
    cannot "containerd and runc are taken from Debian 12, and this is another system"
  { command -v apt-get && command -v dpkg-deb; } >/dev/null || cannot "there is no apt-get to get Debian's containerd"
  say "unpacking Debian's ${packages[*]} into $folder (once)"
  work=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  find_sources
  mkdir "$work/made"
  for package in "${packages[@]}"; do
    unpack_package "$package"
  done
  for program in "${programs[@]}"; do
    cp "$(find "$work" -path "*bin/$program" -type f | head -n 1)" "$work/made/"
  done
  # The folder appears whole or not at all.
  rm -rf "$folder"
  mv -T "$work/made" "$folder"
}

mkdir -p "$(dirname "$folder")"
exec 4>"$folder.lock"
flock 4
is_whole || make_folder
printf '%s\n' "$folder" >&3
