# SPDX-License-Identifier: MIT
# test_kill.sh - an import that is stopped, interrupted and killed inside its transaction
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

# Starts an import and stops it (SIGSTOP) inside its transaction; sets importer. The file grows as
# the objects are made, so a larger file means: inside. An import that was faster is tried again.
stop_an_import() {
    mkdir -p tree
    head -c 100000 /dev/urandom >tree/a
    truncate -s 200M tree/b # sparse: zeros cost nothing to read and time to store
    echo z >tree/z
    holdfast create --quiet --size 1M a.hf
    holdfast put --quiet a.hf x --value kept
    before=$(stat -c %s a.hf)
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        "$HF_COMMAND" import --quiet a.hf tree 2>import.err &
        importer=$!
        trap 'kill -KILL $importer 2>/dev/null || true' EXIT # a stopped one would stay for ever
        while kill -0 $importer 2>/dev/null && [ "$(stat -c %s a.hf)" -le $((before + 20000000)) ]; do
            :
        done
        if kill -STOP $importer 2>/dev/null; then
            sleep 0.1
            if holdfast rm --wait 0 a.hf missing 2>rm.err; then
                die "removed what is missing"
            elif [ $? = 5 ]; then
                return
            fi
            kill -CONT $importer 2>/dev/null || true
        fi
        wait $importer || true
        holdfast rm --quiet --force a.hf a b z
        holdfast shrink --quiet a.hf
        before=$(stat -c %s a.hf)
    done
    die "could not catch the import inside its transaction"
}

killed() {
    kill -KILL $importer
    code=0
    wait $importer 2>/dev/null || code=$?
    [ "$code" = 137 ] || die "not killed: $code"
}

test_a_held_store_is_busy() {
    stop_an_import
    says "$importer" rm.err # the message names the holder
    expect 5 holdfast rm --wait 0 a.hf x
    expect 5 holdfast put --wait 0 a.hf y --value z
    expect 5 holdfast ls --wait 0 a.hf
    expect 5 holdfast stat --json --wait 0 a.hf
    is_json out
    says '"code": "HF_EBUSY"' out
    expect 5 holdfast put --wait 1 a.hf y --value z
    expect 5 holdfast grow a.hf 400M
    expect 5 holdfast shrink a.hf
    expect 8 holdfast fsck a.hf
    expect 8 holdfast fsck --repair a.hf
    kill -CONT $importer
    wait $importer || die "the import failed: $(cat import.err)"
    expect 0 holdfast ls a.hf
    [ "$(tr '\n' ' ' <out)" = "a b x z " ]
}

test_a_killed_import_is_rolled_back_and_told() {
    stop_an_import
    killed
    expect 0 holdfast put a.hf y --value new
    says "process $importer died inside a transaction" err
    [ "$(holdfast ls a.hf | tr '\n' ' ')" = "x y " ]
    [ "$(holdfast get a.hf x)" = kept ]
    expect 0 holdfast stat a.hf
    [ ! -s err ] || die "told twice: $(cat err)"
    expect 0 holdfast fsck a.hf
    [ ! -e a.hf-undo ] || die "a sidecar was left"
    expect 0 holdfast import --quiet a.hf tree
    holdfast get a.hf a | cmp - tree/a
}

test_reading_after_a_kill_shows_the_old_state() {
    stop_an_import
    killed
    expect 0 holdfast ls a.hf
    [ "$(cat out)" = x ] || die "$(cat out)"
    expect 0 holdfast get a.hf x
    [ "$(cat out)" = kept ]
    expect 0 holdfast fsck a.hf
    expect 0 holdfast fsck --json a.hf
    is_json out
}

test_fsck_repair_after_a_kill() {
    stop_an_import
    killed
    expect 0 holdfast fsck --repair a.hf
    expect 0 holdfast fsck a.hf
    [ "$(holdfast ls a.hf)" = x ]
}

test_an_interrupted_import_is_10_and_nothing_stays() {
    stop_an_import
    kill -INT $importer 2>/dev/null || true
    kill -TERM $importer # a background shell may ignore SIGINT
    kill -CONT $importer
    code=0
    wait $importer || code=$?
    [ "$code" = 10 ] || die "exit code $code"
    says interrupted import.err
    expect 0 holdfast ls a.hf
    [ "$(cat out)" = x ] || die "$(cat out)"
    [ ! -s err ] || die "it needed recovery: $(cat err)"
    [ ! -e a.hf-lock ] || die "a sidecar was left"
}

run_tests test_a_held_store_is_busy test_a_killed_import_is_rolled_back_and_told \
    test_reading_after_a_kill_shows_the_old_state test_fsck_repair_after_a_kill \
    test_an_interrupted_import_is_10_and_nothing_stays
