#!/bin/sh
# systemd as the first process of namespaces of its own (processes, mounts, control groups, host name); for tests and benchmarks.
#
#   boot.sh FOLDER GROUP CHECKOUT      with the units in FOLDER/units and no others; ends with systemd, or when it is killed
#
# What it may write is below FOLDER, which it sees as everybody does; /run, /var/lib and /opt are FOLDER's, CHECKOUT is /opt/installed. All else is read-only.
# GROUP is a folder of the cgroup2 hierarchy; its units are groups below it. The network is the host's.
set -eu
folder=$1 group=$2 checkout=$3

if [ "${4:-}" != inside ]; then
  echo $$ >"$group/cgroup.procs"
  exec unshare --pid --fork --kill-child --mount --mount-proc --uts --cgroup --propagation private \
    "$0" "$folder" "$group" "$checkout" inside
fi

mount --bind "$folder" "$folder"
mount --bind "$checkout" "$folder/opt/installed"
mount -o remount,bind,ro /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --rbind "$folder/opt" /opt
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/run" /run
# `container`: it is not to set up hardware, clocks or the kernel.
exec env -i container=varve PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  SYSTEMD_UNIT_PATH="$folder/units" SYSTEMD_GENERATOR_PATH="$folder/none" SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$folder/none" \
  /lib/systemd/systemd --system --show-status=no --log-target=null --default-standard-output=null
