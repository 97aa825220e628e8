# SPDX-License-Identifier: MIT
# test_archive.sh - archive and restore
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

make_store() {
    holdfast create --quiet a.hf
    for i in 1 2 3 4 5 6 7 8; do
        head -c 50000 /dev/urandom >value
        holdfast put --quiet a.hf "v$i" value
    done
}

same_values() {
    holdfast export --quiet "$1" one
    holdfast export --quiet "$2" two
    diff -r one two >/dev/null || die "$1 and $2 differ"
    rm -r one two
}

test_a_chain_of_archives() {
    make_store
    expect 0 holdfast archive --json -o full.hfz a.hf
    is_json out
    [ "$(json_number pages out)" = "$(json_number pages_total out)" ]
    [ "$(json_number archive_bytes out)" = "$(stat -c %s full.hfz)" ]
    commit=$(json_number commit out)
    holdfast put --quiet a.hf v3 --value changed
    expect 0 holdfast archive --json --since-archive full.hfz -o one.hfz a.hf
    [ "$(json_number pages out)" -lt "$(json_number pages_total out)" ] || die "it is full"
    [ "$(json_number from_commit out)" = "$commit" ]
    expect 0 holdfast archive --since "$commit" --level 19 --threads 3 --output two.hfz a.hf
    says "since commit $commit" out
    expect 0 holdfast restore --verify one.hfz
    says "one.hfz: intact" out
    expect 0 holdfast restore --json b.hf full.hfz one.hfz
    is_json out
    same_values a.hf b.hf
    expect 0 holdfast fsck --quiet b.hf
    expect 0 holdfast restore --mode 600 c.hf full.hfz two.hfz
    [ "$(stat -c %a c.hf)" = 600 ]
    same_values a.hf c.hf
}

test_through_pipes() {
    make_store
    holdfast archive a.hf | holdfast restore --quiet b.hf - || die "$?"
    same_values a.hf b.hf
    holdfast archive a.hf | holdfast restore --verify - >out || die "$?"
    says intact out
    expect 2 holdfast archive --json a.hf
    holdfast archive a.hf | head -c 100 >short
    expect 4 holdfast restore b2.hf short
    [ ! -e b2.hf ]
}

# Any zstd reads it: what is in it are the blocks, one after the other.
test_zstd_reads_it() {
    command -v zstd >/dev/null || skip "there is no zstd"
    make_store
    holdfast archive --quiet -o full.hfz a.hf
    zstd -t -q full.hfz || die "zstd refuses it"
    [ "$(zstd -dc full.hfz | wc -c)" -gt 400000 ] || die "zstd finds little"
}

test_refusals() {
    make_store
    holdfast archive --quiet -o full.hfz a.hf
    expect 9 holdfast archive -o full.hfz a.hf
    expect 9 holdfast restore a.hf full.hfz
    expect 3 holdfast archive -o x.hfz missing.hf
    [ ! -e x.hfz ]
    expect 3 holdfast restore b.hf a.hf
    expect 3 holdfast restore b.hf missing.hfz
    expect 2 holdfast restore b.hf
    expect 2 holdfast archive --level 20 a.hf -o x.hfz
    expect 2 holdfast archive --since some a.hf -o x.hfz
    expect 2 holdfast archive --since 1 --since-archive full.hfz a.hf -o x.hfz
    for mode in 999 0 1000 -1 0x1 "" " 644" 40000000644 2000000000000000000000644; do
        expect 2 holdfast restore --mode "$mode" b.hf full.hfz
    done
    holdfast create --quiet other.hf
    expect 3 holdfast archive --since-archive full.hfz -o x.hfz other.hf
    says "another store" err
    cp full.hfz bad.hfz
    printf x | dd of=bad.hfz bs=1 seek=20000 conv=notrunc status=none
    expect 4 holdfast restore --verify bad.hfz
    says bad.hfz err
    expect 4 holdfast restore b.hf bad.hfz
    [ ! -e b.hf ] || die "half a store"
    [ "$(ls | grep -c 'new-\|part-')" = 0 ] || die "something was left: $(ls)"
}

test_a_full_disk_is_6_and_leaves_nothing() {
    [ -w /dev/full ] || skip "there is no /dev/full"
    make_store
    expect 6 holdfast archive -o /dev/full a.hf
}

test_standard_input_is_what_it_is() {
    make_store
    holdfast archive --quiet -o full.hfz a.hf
    expect 7 holdfast restore b.hf - <&-
    says stdin err
    expect 7 holdfast restore --verify - <&-
    { echo before && cat full.hfz; } >both
    # From where it stands, and of a file that has no name any more.
    (read -r line && rm both && holdfast restore --quiet b.hf - && [ "$line" = before ]) <both || die "$?"
    same_values a.hf b.hf
    command -v python3 >/dev/null || skip "no python3 to make a socket"
    python3 -c '
import os, socket, subprocess, sys
ours, its = socket.socketpair()
child = subprocess.Popen([os.environ["HF_COMMAND"], "restore", "--quiet", "c.hf", "-"], stdin=its)
its.close()
ours.sendall(open("full.hfz", "rb").read())
ours.close()
sys.exit(child.wait())' || die "$?"
    same_values a.hf c.hf
}

test_output_needs_no_hard_links() {
    make_store
    for call in link rename; do
        expect 0 failing $call archive --quiet -o $call.hfz a.hf
        expect 0 holdfast restore --quiet --verify $call.hfz
        expect 9 failing $call archive -o $call.hfz a.hf
    done
    expect 3 failing links archive -o x.hfz a.hf
    says x.hfz err
    [ "$(find . -name 'x.hfz*')" = "" ] || die "left behind: $(find . -name 'x.hfz*')"
    for call in fsync close; do
        expect 7 failing $call archive -o x.hfz a.hf
        [ "$(find . -name 'x.hfz*')" = "" ] || die "left behind: $(find . -name 'x.hfz*')"
    done
}

run_tests test_a_chain_of_archives test_through_pipes test_zstd_reads_it test_refusals \
    test_a_full_disk_is_6_and_leaves_nothing \
    test_output_needs_no_hard_links test_standard_input_is_what_it_is
