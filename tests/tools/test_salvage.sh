# SPDX-License-Identifier: MIT
# test_salvage.sh - holdfast salvage: what is saved from a wreck, what is told of it, and the exit codes
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

make_store() {
    mkdir tree
    for i in 1 2 3 4 5 6 7 8 9; do
        head -c $((i * 10000)) /dev/urandom >tree/$i
    done
    holdfast import --create --quiet a.hf tree
}

# damage OFFSET COUNT: that many bytes of 0xff there.
damage() {
    head -c "$2" /dev/zero | tr '\0' '\377' | dd of=a.hf bs=1 seek="$1" conv=notrunc 2>/dev/null
}

test_a_sound_store_is_saved_whole() {
    make_store
    cp a.hf before
    expect 0 holdfast salvage a.hf b.hf
    says "9 intact, 0 unproved, 0 lost, 0 not even found" out
    cmp a.hf before || die "the wreck was changed"
    expect 0 holdfast fsck --quiet b.hf
    expect 0 holdfast export --quiet b.hf out.d
    diff -r tree out.d
    expect 9 holdfast salvage a.hf b.hf
    expect 0 holdfast salvage --dry-run --all a.hf
    says "intact   '7'" out
    [ ! -e b.hf.new* ] || die "a spare file is left"
}

test_without_any_header_all_is_found() {
    make_store
    damage 0 512
    damage 4096 512
    damage 65536 1024
    expect 3 holdfast ls a.hf
    expect 4 holdfast salvage --json a.hf b.hf
    is_json out
    [ ! -e b.hf ] || die "a store of nothing was made"
}

# A sound copy of one header slot keeps the salt; page 0, with the segment's header, is gone.
test_one_copy_of_the_constants_is_enough() {
    make_store
    damage 4096 512
    damage 65536 1024
    expect 1 holdfast salvage a.hf b.hf
    expect 0 holdfast fsck --quiet b.hf
    for i in 4 5 6 7 8 9; do
        holdfast get b.hf $i >got || die "$i was not saved"
        cmp tree/$i got
    done
}

test_a_given_salt_is_enough() {
    make_store
    expect 0 holdfast salvage --dry-run --json a.hf
    salt=$(sed -n 's/.*"salt": "\([0-9a-f]*\)".*/\1/p' out)
    damage 0 512
    damage 4096 512
    damage 65536 1024
    expect 4 holdfast salvage --salt 1234 a.hf b.hf
    for bad in xyz -1 "" " 12" 0 0x "${salt}00000000000000000"; do
        expect 2 holdfast salvage --salt "$bad" a.hf b.hf
    done
    expect 1 holdfast salvage --salt "$salt" a.hf b.hf
    holdfast get b.hf 9 >got
    cmp tree/9 got
}

# Rot in one object: the others are saved, this one is told of, and saved only as what it is.
test_rot_is_told_and_marked() {
    make_store
    offset=$(holdfast salvage --dry-run --json a.hf |
        sed -n 's/.*"name": "9".*"offset": \([0-9]*\).*/\1/p')
    damage $((65536 + offset + 50000)) 3
    expect 1 holdfast salvage --json a.hf b.hf
    is_json out
    [ "$(json_number intact out)" = 8 ] || die "$(cat out)"
    says "isn't what its checksum says" out
    expect 1 holdfast get b.hf 9
    expect 1 holdfast salvage --unproved a.hf c.hf
    says "saved as '9.unproved'" out
    holdfast get c.hf 9.unproved >got
    [ "$(wc -c <got)" = 90000 ]
    expect 1 holdfast get c.hf 9
}

test_cut_and_foreign_files() {
    make_store
    head -c 300000 a.hf >cut.hf
    expect 1 holdfast salvage cut.hf b.hf
    expect 0 holdfast fsck --quiet b.hf
    head -c 60000 a.hf >short.hf
    expect 4 holdfast salvage short.hf c.hf
    head -c 300000 /dev/urandom >noise.hf
    expect 4 holdfast salvage noise.hf c.hf
    expect 3 holdfast salvage missing.hf c.hf
    expect 2 holdfast salvage a.hf
    [ ! -e c.hf ]
}

run_tests test_a_sound_store_is_saved_whole test_without_any_header_all_is_found \
    test_one_copy_of_the_constants_is_enough test_a_given_salt_is_enough \
    test_rot_is_told_and_marked test_cut_and_foreign_files
