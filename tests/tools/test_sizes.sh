# SPDX-License-Identifier: MIT
# test_sizes.sh - grow and shrink
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

size_of() {
    holdfast stat --brief --json "$1" >size.json
    json_number size_bytes size.json
}

test_grow_to_and_by() {
    holdfast create --quiet --max-size 64M a.hf
    expect 0 holdfast grow --json a.hf 8M
    is_json out
    [ "$(size_of a.hf)" -ge 8388608 ] || die "$(size_of a.hf)"
    before=$(size_of a.hf)
    expect 0 holdfast grow a.hf +1M
    [ "$(size_of a.hf)" -ge $((before + 1048576)) ] || die "$(size_of a.hf)"
    before=$(size_of a.hf)
    expect 0 holdfast grow a.hf 4M
    [ "$(size_of a.hf)" = "$before" ] || die "grow made it smaller"
    expect 6 holdfast grow a.hf 65M
    says a.hf err
    [ "$(size_of a.hf)" = "$before" ]
    for bad in 8Q -1 "" 1.5M ++1 0x10; do
        expect 2 holdfast grow -- a.hf "$bad"
    done
    expect 3 holdfast grow missing.hf 8M
    expect 0 holdfast fsck --quiet a.hf
}

test_shrink_keeps_the_objects() {
    holdfast create --quiet a.hf
    head -c 100000 /dev/urandom >value
    holdfast put --quiet a.hf x value
    holdfast grow --quiet a.hf 16M
    before=$(stat -c %s a.hf)
    expect 0 holdfast shrink --json a.hf
    is_json out
    [ "$(stat -c %s a.hf)" -lt $((before - 8000000)) ] || die "still $(stat -c %s a.hf)"
    [ "$(json_number file_bytes out)" = "$(stat -c %s a.hf)" ]
    holdfast get a.hf x | cmp - value
    expect 0 holdfast shrink a.hf
    expect 0 holdfast fsck --quiet a.hf
    expect 3 holdfast shrink missing.hf
    holdfast put --quiet a.hf y value
    holdfast get a.hf y | cmp - value
}

test_trim_gives_space_back() {
    holdfast create --quiet a.hf
    head -c 4000000 /dev/urandom >value
    holdfast put --quiet a.hf x value
    holdfast put --quiet a.hf y --value kept
    holdfast rm --quiet a.hf x
    expect 0 holdfast trim --dry-run --json a.hf
    is_json out
    [ "$(json_number extent_bytes out)" -gt 3000000 ] || die "$(cat out)"
    before=$(stat -c %b a.hf)
    expect 0 holdfast stat a.hf
    says "compaction would gain" out
    expect 0 holdfast trim --json a.hf
    is_json out
    grep -q '"unsupported": *true' out || [ "$(stat -c %b a.hf)" -lt $((before - 6000)) ] || die "not less"
    [ "$(holdfast get a.hf y)" = kept ]
    expect 0 holdfast fsck --quiet a.hf
    expect 0 holdfast trim a.hf
    says "0 free blocks" out
    holdfast put --quiet a.hf x value
    holdfast get a.hf x | cmp - value
    expect 0 holdfast fsck --quiet a.hf
    expect 3 holdfast trim missing.hf
}

test_a_full_store_is_6_and_unharmed() {
    holdfast create --quiet --max-size 2M a.hf
    holdfast put --quiet a.hf x --value kept
    head -c 4000000 /dev/zero >large
    expect 6 holdfast put a.hf large large
    expect 6 holdfast put a.hf x large
    [ "$(holdfast get a.hf x)" = kept ] || die "the old value is gone"
    expect 0 holdfast fsck --quiet a.hf
}

run_tests test_grow_to_and_by test_shrink_keeps_the_objects test_trim_gives_space_back test_a_full_store_is_6_and_unharmed
