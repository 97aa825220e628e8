# SPDX-License-Identifier: MIT
# test_kill.sh - an import that is stopped, interrupted and killed inside its transaction
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

engine=log # of the stores below; each test runs once on each engine

# Starts an import and stops it (SIGSTOP) inside its transaction; sets importer. The file grows as
# the objects are made, so a larger file means: inside. An import that was faster is tried again.
stop_an_import() {
    mkdir -p tree
    head -c 100000 /dev/urandom >tree/a
    truncate -s 200M tree/b # sparse: zeros cost nothing to read and time to store
    echo z >tree/z
    holdfast create --quiet --engine $engine --size 1M a.hf
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

held_store_is_busy() {
    stop_an_import
    says "$importer" rm.err # the message names the holder
    expect 5 holdfast rm --wait 0 a.hf x
    expect 5 holdfast put --wait 0 a.hf y --value z
    if [ $engine = log ]; then # who reads sees the last commit
        expect 0 holdfast ls --wait 0 a.hf
        [ "$(cat out)" = x ] || die "$(cat out)"
        expect 0 holdfast stat --json --wait 0 a.hf
        is_json out
        says '"engine": "log"' out
    else
        expect 5 holdfast ls --wait 0 a.hf
        expect 5 holdfast stat --json --wait 0 a.hf
        is_json out
        says '"code": "HF_EBUSY"' out
    fi
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

test_a_held_store_is_busy() {
    held_store_is_busy
}

test_a_held_store_is_busy_on_the_direct_engine() {
    engine=direct
    held_store_is_busy
}

killed_import_leaves_nothing() {
    stop_an_import
    killed
    expect 0 holdfast put a.hf y --value new
    if [ $engine = log ]; then # nothing of it had left its process
        [ ! -s err ] || die "told: $(cat err)"
    else
        says "process $importer died inside a transaction" err
    fi
    [ "$(holdfast ls a.hf | tr '\n' ' ')" = "x y " ]
    [ "$(holdfast get a.hf x)" = kept ]
    expect 0 holdfast stat a.hf
    [ ! -s err ] || die "told twice: $(cat err)"
    expect 0 holdfast fsck a.hf
    [ "$(echo a.hf-*)" = "a.hf-*" ] || die "a sidecar was left"
    expect 0 holdfast import --quiet a.hf tree
    holdfast get a.hf a | cmp - tree/a
}

test_a_killed_import_leaves_nothing() {
    killed_import_leaves_nothing
}

test_a_killed_import_is_rolled_back_and_told_on_the_direct_engine() {
    engine=direct
    killed_import_leaves_nothing
}

# A commit whose process dies before it closes is found in the log, and told.
test_commits_of_a_killed_process_are_replayed_and_told() {
    mkdir tree
    seq 1 4000 | split -l 1 -a 4 - tree/f # so many commits that it can't be through
    # Where the log has just been begun anew there is nothing to tell: then once more.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        rm -f a.hf*
        holdfast create --quiet a.hf
        "$HF_COMMAND" import --quiet --batch 1 a.hf tree 2>import.err &
        importer=$!
        trap 'kill -KILL $importer 2>/dev/null || true' EXIT
        while kill -0 $importer 2>/dev/null && [ "$(holdfast ls a.hf | wc -l)" -lt 5 ]; do
            :
        done
        kill -STOP $importer
        killed
        expect 0 holdfast fsck a.hf
        ! grep -q "its log holds" out || break
        echo "attempt $attempt: the log was empty"
    done
    expect 0 holdfast fsck a.hf
    says "its log holds" out
    expect 0 holdfast fsck --json a.hf
    is_json out
    says '"engine": "log"' out
    expect 0 holdfast stat a.hf
    says "from its log" out
    says "replayed from its log for this reading" err
    expect 0 holdfast rm a.hf faaaa
    says "not closed by process $importer" err
    expect 0 holdfast stat a.hf
    [ ! -s err ] || die "told twice: $(cat err)"
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

run_tests test_a_held_store_is_busy test_a_held_store_is_busy_on_the_direct_engine \
    test_a_killed_import_leaves_nothing \
    test_a_killed_import_is_rolled_back_and_told_on_the_direct_engine \
    test_commits_of_a_killed_process_are_replayed_and_told \
    test_reading_after_a_kill_shows_the_old_state test_fsck_repair_after_a_kill \
    test_an_interrupted_import_is_10_and_nothing_stays
