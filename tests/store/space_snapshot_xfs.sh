# SPDX-License-Identifier: MIT
# space_snapshot_xfs.sh - snapshots on a file system with reflinks: XFS in a loop device, in a mount namespace
# of its own. Skipped (77) only where that can't be: without mkfs.xfs, the right to mount, loop devices, or XFS in the
# kernel. Where all of them are there, whatever keeps it from running is a failure.
PATH=$PATH:/sbin:/usr/sbin
skip() {
    echo "skipped: $1"
    exit 77
}
if [ "$1" != inside ]; then
    command -v mkfs.xfs >/dev/null || skip "no mkfs.xfs"
    unshare -m mount --make-rprivate / 2>/dev/null || skip "may not mount"
    [ -e /dev/loop-control ] || skip "no loop devices"
    set -e
    truncate -s 400M xfs.img
    mkfs.xfs -q -m reflink=1 xfs.img
    mkdir -p xfs
    # The first mount loads the module.
    unshare -m mount -o loop xfs.img xfs 2>err || grep -q '[[:space:]]xfs$' /proc/filesystems ||
        skip "no XFS in the kernel: $(cat err)"
    exec unshare -m sh "$0" inside
fi
set -e
mount -o loop xfs.img xfs
cd xfs
free_bytes() { # on the disk, once everything has been given its place
    sync -f .
    echo $(($(stat -f -c '%f * %S' .)))
}
"$HF_BUILD_DIR/tests/store_test_snapshot"
head -c 30000000 /dev/urandom >big
"$HF_COMMAND" create --quiet a.hf
"$HF_COMMAND" put --quiet a.hf big big
before=$(free_bytes)
"$HF_COMMAND" snapshot --json a.hf any.hf >out
grep -q '"method": "clone"' out || { cat out; echo "by another method"; exit 1; }
"$HF_COMMAND" snapshot --quiet --method clone --verify a.hf clone.hf
used=$((before - $(free_bytes)))
[ "$used" -lt 10000000 ] || { echo "two clones of 30 MB took $used bytes of the disk"; exit 1; }
"$HF_COMMAND" snapshot --quiet --method copy a.hf copy.hf
used=$((before - $(free_bytes)))
[ "$used" -gt 20000000 ] || { echo "a copy of 30 MB took only $used bytes"; exit 1; }
"$HF_COMMAND" fsck any.hf clone.hf copy.hf
"$HF_COMMAND" get --output back clone.hf big
cmp big back
