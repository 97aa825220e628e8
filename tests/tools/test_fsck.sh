# SPDX-License-Identifier: MIT
# test_fsck.sh - fsck's findings, exit codes and repairs, seen through the command
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

make_store() {
    mkdir tree
    for i in 1 2 3 4 5 6 7 8 9; do
        head -c $((i * 1000)) /dev/urandom >tree/$i
    done
    holdfast import --create --quiet a.hf tree
    holdfast rm --quiet a.hf 3 6
    rm tree/3 tree/6
}

# damage OFFSET: 64 bytes of 0xff there.
damage() {
    printf '%064d' 0 | tr 0 '\377' | dd of=a.hf bs=1 seek="$1" conv=notrunc 2>/dev/null
}

test_clean_is_0() {
    make_store
    cp a.hf before
    expect 0 holdfast fsck a.hf
    says "a.hf: clean" out
    says "7 named" out
    expect 0 holdfast fsck --json a.hf a.hf
    is_json out
    says '"state": "clean"' out
    [ "$(json_number named out)" = 7 ] || die "$(cat out)"
    expect 0 holdfast fsck --quiet a.hf
    [ ! -s out ]
    expect 0 holdfast fsck --progress a.hf
    cmp a.hf before || die "looking has changed the file"
    expect 0 holdfast fsck --repair a.hf
}

test_what_cannot_be_checked_is_8() {
    expect 8 holdfast fsck missing.hf
    says missing.hf err
    expect 8 holdfast fsck --json missing.hf
    is_json out
    holdfast create --quiet a.hf
    expect 8 holdfast fsck a.hf missing.hf
    says "a.hf: clean" out
    expect 8 holdfast fsck .
}

# A golden store has 10 anonymous objects and 7 blocks of hf_alloc that nothing leads to.
test_leaks_are_told_and_fail_only_if_asked() {
    make_store
    expect 0 holdfast fsck --leaks-fail a.hf
    cp "$HF_SOURCE_DIR/tests/golden/format0-best_fit-set.hf" b.hf
    expect 0 holdfast fsck b.hf
    expect 0 holdfast fsck --leaks b.hf
    [ "$(grep -c "b.hf: leak at .*: .* bytes, " out)" = 17 ] || die "$(cat out)"
    says "1 of golden/node version 7" out
    says "b.hf: 10 objects and 7 blocks, " out
    says "b.hf: clean" out
    expect 4 holdfast fsck --leaks-fail b.hf
    says "b.hf: leaking" out
    expect 4 holdfast fsck --leaks-fail --quiet b.hf
    [ ! -s out ]
    expect 4 holdfast fsck --repair --leaks-fail b.hf
    [ "$(grep -c "b.hf: leak at .*: .* bytes, " out)" = 17 ] || die "$(cat out)"
    expect 0 holdfast fsck --leaks --json b.hf a.hf
    is_json out
    [ "$(grep -o '"kind": "raw"' out | wc -l)" = 7 ] || die "$(cat out)"
    [ "$(json_number leaked_objects out | head -n 1)" = 10 ] || die "$(cat out)"
}

# Where the segment begins: the file is longer than it by that much.
segment_offset() {
    holdfast stat --brief --json a.hf >stat.json
    echo $(($(json_number file_bytes stat.json) - $(json_number size_bytes stat.json)))
}

# Damages the store in many places, one at a time. Every outcome must be a documented code, within
# seconds; damage that is found must be repaired or left as 4, and what fsck then calls clean must
# open, list and export.
test_damage_is_found_and_repaired_or_told() {
    make_store
    cp a.hf good.hf
    found=0
    repaired=0
    start=$(segment_offset)
    size=$(stat -c %s a.hf)
    for offset in 0 64 512 4096 8192 $((start)) $((start + 64)) $((start + 128)) $((start + 256)) \
        $((start + 512)) $((start + 1024)) $((start + 2048)) $((start + 4096)) $((start + 9000)) \
        $((start + 12000)) $((start + 20000)); do
        [ "$offset" -lt "$size" ] || continue
        cp good.hf a.hf
        damage "$offset"
        cp a.hf damaged.hf
        code=0
        timeout 20 "$HF_COMMAND" fsck a.hf >out 2>err || code=$?
        cmp a.hf damaged.hf || die "looking has changed the file (damage at $offset)"
        case $code in
        0) continue ;; # the payload of an object, or free space
        4) found=$((found + 1)) ;;
        8) continue ;; # so little is left that it is no store
        *) die "damage at $offset: exit code $code" ;;
        esac
        grep -q " at [0-9]*: " out || die "no finding was printed for $offset"
        timeout 20 "$HF_COMMAND" fsck --json a.hf >out 2>err || true
        is_json out
        for call in "ls a.hf" "stat a.hf" "get a.hf 5" "put a.hf new --value x"; do
            code=0
            # shellcheck disable=SC2086
            timeout 20 "$HF_COMMAND" $call >out 2>err || code=$?
            [ "$code" -le 9 ] || die "$call, damage at $offset: exit code $code"
        done
        cp damaged.hf a.hf
        code=0
        timeout 20 "$HF_COMMAND" fsck --repair a.hf >out 2>err || code=$?
        case $code in
        1)
            repaired=$((repaired + 1))
            expect 0 holdfast fsck a.hf
            expect 0 holdfast ls a.hf
            expect 0 holdfast put --quiet a.hf new --value x
            expect 0 holdfast fsck --quiet a.hf
            ;;
        4 | 8) ;;
        *) die "repair of damage at $offset: exit code $code" ;;
        esac
    done
    echo "found $found, repaired $repaired"
    [ "$found" -ge 3 ] || die "only $found damages were found"
    [ "$repaired" -ge 1 ] || die "none was repaired"
}

test_a_truncated_store_is_damage() {
    make_store
    truncate -s $(($(segment_offset) + 5000)) a.hf
    expect 4 holdfast fsck a.hf
    expect 4 holdfast stat a.hf
}

run_tests test_clean_is_0 test_what_cannot_be_checked_is_8 \
    test_damage_is_found_and_repaired_or_told test_a_truncated_store_is_damage
