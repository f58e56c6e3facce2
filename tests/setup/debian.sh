# Sourced by the scripts beside it: packages of Debian, unpacked into a folder of their own. Each sets `work` to an empty one.
# shellcheck shell=bash
# shellcheck disable=SC2154 # work

source "$(dirname "${BASH_SOURCE[0]}")/../../build/prerequisites.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# cannot REASON… - ends with the exit status that means: this machine can't have it.
cannot() {
  printf '%serror:%s %s\n' "$red$bold" "$plain" "$*"
  exit 3
}

# debian_apt ARGUMENT… - apt-get with lists of its own, so that neither the machine's sources nor its lists change.
debian_apt() {
  apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/apt-cache" "$@"
}

# find_sources - the mirrors that this machine is configured for, with their source packages.
find_sources() {
  local signed=''
  mkdir -p "$work/lists/partial" "$work/apt-cache/archives/partial"
  [[ ! -e $keyring ]] || signed="[signed-by=$keyring] "
  # Says nothing of repositories that were never read.
  [[ -n $(debian_repositories) ]] || ((EUID != 0)) || apt-get -qq update
  debian_repositories | sed -e "s|^|deb $signed|p" -e "s|^deb |deb-src |" >"$work/sources.list"
  [[ -s $work/sources.list ]] || cannot "no mirror of Debian is configured on this machine, or its lists were never read: apt-get update"
  debian_apt update || cannot "the mirror of Debian can't be reached: $(awk '{ print $(NF - 2) }' "$work/sources.list" | sort -u | xargs)"
}

debian_repositories() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/^Debian|//p' | sort -u
}

# unpack_package PACKAGE - its files under $work/<package>; nothing is installed, and no daemon started.
unpack_package() {
  (cd "$work" && debian_apt download "$1" && dpkg-deb -x "$1"_*.deb "$work/$1" && rm "$1"_*.deb)
}
