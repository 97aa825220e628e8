# SPDX-License-Identifier: MIT
# space_snapshot_xfs.sh - snapshots on a file system with reflinks: XFS in a loop device, in a mount namespace
# of its own. Skipped (77) without root, loop devices or mkfs.xfs.
PATH=$PATH:/sbin:/usr/sbin
if [ "$1" != inside ]; then
    command -v mkfs.xfs >/dev/null && truncate -s 400M xfs.img &&
        mkfs.xfs -q -m reflink=1 xfs.img 2>/dev/null || { echo "skipped: no mkfs.xfs"; exit 77; }
    unshare -m sh -c 'mkdir -p xfs && mount -o loop xfs.img xfs && umount xfs' 2>/dev/null ||
        { echo "skipped: may not mount, or no loop device"; exit 77; }
    exec unshare -m sh "$0" inside
fi
set -e
mount -o loop xfs.img xfs
cd xfs
"$HF_BUILD_DIR/tests/store_test_snapshot"
head -c 30000000 /dev/urandom >big
"$HF_COMMAND" create --quiet a.hf
"$HF_COMMAND" put --quiet a.hf big big
"$HF_COMMAND" snapshot --json a.hf any.hf >out
grep -q '"method": "clone"' out
"$HF_COMMAND" snapshot --quiet --method clone --verify a.hf clone.hf
"$HF_COMMAND" snapshot --quiet --method copy a.hf copy.hf
"$HF_COMMAND" fsck any.hf clone.hf copy.hf
"$HF_COMMAND" get --output back clone.hf big
cmp big back
