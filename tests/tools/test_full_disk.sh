# SPDX-License-Identifier: MIT
# test_full_disk.sh - the command on a file system that is too small (a tmpfs of its own)
if [ -z "${HF_IN_NAMESPACE-}" ]; then
    for unshare in "unshare -m" "unshare -rm"; do
        # shellcheck disable=SC2016
        if HF_IN_NAMESPACE=1 $unshare sh -c 'mount -t tmpfs -o size=1m tmpfs /mnt' 2>/dev/null; then
            HF_IN_NAMESPACE=1 exec $unshare sh "$0"
        fi
    done
    echo "skipped: may not mount a file system"
    exit 77
fi
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

small() { # a file system of SIZE in the directory small
    mkdir small
    mount -t tmpfs -o "size=$1" tmpfs small
}

test_import_on_a_full_disk_changes_nothing() {
    small 4m
    mkdir tree
    for i in 1 2 3 4 5 6 7 8; do
        head -c 1000000 /dev/urandom >tree/$i
    done
    holdfast create --quiet small/a.hf
    holdfast put --quiet small/a.hf x --value kept
    expect 6 holdfast import small/a.hf tree
    says small/a.hf err
    [ "$(holdfast ls small/a.hf)" = x ]
    [ "$(holdfast get small/a.hf x)" = kept ]
    expect 0 holdfast fsck small/a.hf
    expect 6 holdfast import --json small/a.hf tree
    is_json out
    says '"exit_code": 6' out
    expect 0 holdfast rm small/a.hf x
    expect 0 holdfast fsck small/a.hf
    umount small
}

test_create_on_a_full_disk_leaves_nothing() {
    small 1m
    expect 6 holdfast create --size 8M small/a.hf
    [ -z "$(ls -A small)" ] || die "left behind: $(ls -A small)"
    umount small
}

test_grow_on_a_full_disk() {
    small 4m
    holdfast create --quiet small/a.hf
    expect 6 holdfast grow small/a.hf 64M
    expect 0 holdfast fsck small/a.hf
    umount small
}

test_export_and_get_on_a_full_disk() {
    small 1m
    head -c 3000000 /dev/urandom >value
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x value
    expect 6 holdfast export a.hf small/out
    says "No space left" err
    [ ! -e small/out/x ] || die "half a file was left"
    echo old >small/y
    expect 6 holdfast get a.hf x -o small/y
    [ "$(cat small/y)" = old ] || die "the old file is gone"
    [ "$(ls small)" = "$(printf 'out\ny')" ] || die "left behind: $(ls small)"
    umount small
}

test_dump_and_load_on_a_full_disk() {
    head -c 6000000 /dev/urandom >value
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x value
    holdfast dump --quiet a.hf >a.dump
    small 4m
    expect 6 holdfast load small/b.hf a.dump
    says "of the dump" err
    [ -z "$(ls -A small)" ] || die "left behind: $(ls -A small)"
    holdfast create --quiet small/b.hf
    holdfast put --quiet small/b.hf y --value kept
    expect 6 holdfast load --into small/b.hf a.dump
    [ "$(holdfast ls small/b.hf)" = y ]
    expect 0 holdfast fsck --quiet small/b.hf
    got=0
    holdfast dump --quiet a.hf >small/a.dump 2>err || got=$?
    [ "$got" = 6 ] || die "dump to a full disk: exit code $got"
    umount small
}

run_tests test_dump_and_load_on_a_full_disk \
    test_import_on_a_full_disk_changes_nothing test_create_on_a_full_disk_leaves_nothing \
    test_grow_on_a_full_disk test_export_and_get_on_a_full_disk
