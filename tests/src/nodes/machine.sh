#!/usr/bin/env bash
# machine.sh FOLDER SHARED… - the first process of a machine in namespaces of its own: a file system whose only writable disk is
# FOLDER/disk, with this machine's /usr and devices, and the SHARED folders at the paths that they have outside. What it mounts goes
# with it; what is on the disk stays. Says in FOLDER/up that it is up, and runs until it is killed.

set -euo pipefail

folder=$1
shift
cd "$folder/disk"

mkdir -p proc sys dev run tmp usr etc root var/lib var/log opt old
ln -sfn /run var/run
mount --rbind /usr usr
mount -o remount,bind,ro usr
for name in bin sbin lib lib32 lib64; do
  if [[ -L /$name ]]; then
    ln -sfn "$(readlink "/$name")" "$name"
  elif [[ -d /$name ]]; then
    mkdir -p "$name"
    mount --rbind "/$name" "$name"
  fi
done
mount -t proc proc proc
# Made here, it shows the links of this network namespace.
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
for name in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives protocols services os-release iproute2; do
  [[ -e etc/$name || ! -e /etc/$name ]] || cp -a "/etc/$name" "etc/$name"
done
for shared in "$@"; do
  mkdir -p ".$shared"
  mount --bind "$shared" ".$shared"
done
pivot_root . old
cd /
umount -l old
rmdir old
# Pods see what is mounted here later, as on any node.
mount --make-rshared /
touch "$folder/up"
# Orphans come to this process when they end. Ignoring them is the kernel's word for: don't keep them.
exec env --ignore-signal=CHLD sleep infinity
