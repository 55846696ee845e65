#!/bin/sh
# Runs a shell script (standard input) as root in a copy of this machine that is written into memory alone, in name spaces of
# its own; then prints every file that it left there, deleted ones too. $1: a folder that it sees at /mnt. $2: what may be
# left: a pattern of grep. Exit code 1 where something else was left, and the script's own where that failed.
set -eu
here=$(mktemp -d)
mount -t tmpfs none "$here"
mkdir "$here/written" "$here/work" "$here/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$here/written,workdir=$here/work" "$here/root"
mount -t proc proc "$here/root/proc"
mount --bind "$1" "$here/root/mnt"
mount -t tmpfs none "$here/root/tmp"
chroot "$here/root" /bin/sh -eu
cd "$here/written"
if find . ! -type d | sed 's/^\.//' | grep -Ev "$2"; then
  echo 'these were left, or are gone' >&2
  exit 1
fi
# Folders are there as well where something in them was written; new ones are a trace.
find . -type d | while read -r folder; do
  [ -d "/$folder" ] || { echo "this folder was left: $folder" >&2; exit 1; }
done
