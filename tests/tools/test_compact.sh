# SPDX-License-Identifier: MIT
# test_compact.sh - holdfast compact
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

# 40 values of 30000 bytes, every second of which is gone again.
half_store() {
    rm -f a.hf
    holdfast create --quiet "$@" a.hf
    head -c 30000 /dev/urandom >value
    for i in 0 1 2 3; do
        for j in 0 1 2 3 4 5 6 7 8 9; do
            holdfast put --quiet a.hf "v/$i$j" value
        done
    done
    for i in 0 1 2 3; do
        for j in 0 2 4 6 8; do
            holdfast rm --quiet a.hf "v/$i$j"
        done
    done
}

test_compact_keeps_the_objects_and_gives_back_the_rest() {
    for engine in log direct; do
        half_store --engine "$engine"
        chmod 0640 a.hf
        before=$(stat -c %s a.hf)
        holdfast ls a.hf >names
        cp a.hf copy.hf
        expect 0 holdfast compact --dry-run --json a.hf
        is_json out
        says '"dry_run": true' out
        cmp a.hf copy.hf || die "a dry run wrote"
        would=$(json_number file_bytes out)
        expect 0 holdfast compact --json a.hf
        is_json out
        [ "$(json_number file_bytes_before out)" = "$before" ]
        [ "$(json_number file_bytes out)" = "$would" ] || die "a dry run said $would"
        [ "$(stat -c %s a.hf)" = "$would" ] || die "it has $(stat -c %s a.hf)"
        [ "$would" -lt $((before * 2 / 3)) ] || die "$before became $would"
        [ "$(json_number moved out)" = 20 ]
        [ "$(stat -c %a a.hf)" = 640 ]
        [ "$(ls | grep -c '^a\.hf')" = 1 ] || die "$(ls)"
        expect 0 holdfast fsck --quiet a.hf
        holdfast ls a.hf | cmp - names
        for name in $(cat names); do
            holdfast get a.hf "$name" | cmp - value
        done
        holdfast put --quiet a.hf more value
        expect 0 holdfast compact a.hf
        says 'a.hf: ' out
        says 'was ' out
    done
}

test_compact_says_what_is_wrong() {
    expect 3 holdfast compact missing.hf
    says missing.hf err
    head -c 100000 /dev/urandom >foreign
    cp foreign before
    expect 3 holdfast compact foreign
    cmp foreign before || die "it wrote"
    half_store
    printf rotten | dd of=a.hf bs=1 seek=200000 conv=notrunc 2>/dev/null
    cp a.hf before
    expect 4 holdfast compact a.hf
    says damaged err
    cmp a.hf before || die "it wrote"
    expect 4 holdfast compact --json a.hf
    is_json out
    [ "$(ls | grep -c '^a\.hf')" = 1 ] || die "$(ls)"
}

run_tests test_compact_keeps_the_objects_and_gives_back_the_rest test_compact_says_what_is_wrong
