# SPDX-License-Identifier: MIT
# test_snapshot.sh - holdfast snapshot and holdfast verify
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

make_store() {
    holdfast create --quiet a.hf
    head -c 300000 /dev/urandom >big
    holdfast put --quiet a.hf big big
}

test_snapshot_is_a_store() {
    make_store
    expect 0 holdfast snapshot a.hf b.hf
    says "b.hf: commit " out
    expect 0 holdfast get --output back b.hf big
    cmp big back
    expect 0 holdfast fsck --quiet b.hf
    expect 0 holdfast verify b.hf
    says "whole" out
    expect 9 holdfast snapshot a.hf b.hf
    says b.hf err
    expect 0 holdfast snapshot --json --replace --method copy a.hf b.hf
    is_json out
    says '"method": "copy"' out
    expect 2 holdfast snapshot --method magic a.hf c.hf
    expect 2 holdfast snapshot --verify --no-verify a.hf c.hf
    expect 2 holdfast snapshot a.hf
    expect 3 holdfast snapshot missing.hf c.hf
    echo something >other
    expect 3 holdfast snapshot --replace a.hf other
    [ ! -e c.hf ]
}

test_rot_is_named() {
    make_store
    printf '\377\376\375\374\373\372' | dd of=a.hf bs=1 seek="$((65536 + 150000))" conv=notrunc 2>/dev/null
    expect 4 holdfast verify a.hf
    says page.checksum out
    says "'big'" out
    expect 4 holdfast verify --json a.hf
    is_json out
    says '"state": "rotten"' out
    expect 4 holdfast snapshot --method copy a.hf b.hf
    says "'big'" err
    [ ! -e b.hf ] || die "a rotten copy"
    expect 0 holdfast snapshot --method copy --accept-rot a.hf b.hf
    expect 4 holdfast verify b.hf
    expect 3 holdfast verify big
}

run_tests test_snapshot_is_a_store test_rot_is_named
