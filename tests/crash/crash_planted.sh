#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Breaks one rule of the log's protocol at a time (base/bug.h) and expects the power-cut test to
# notice each: first over few states, then over more. Two bugs at a time. By hand for one of them:
# HF_BUILD_DIR=build/test sh tests/crash/crash_planted.sh NAME...
set -u
test=$HF_BUILD_DIR/tests/crash_power_cut_buggy

# A bug is noticed if the test fails (1) or dies of a signal; not if it can't run (2) or takes too long.
if [ "${1-}" = --one ]; then
    bug=$2
    for scale in 0.02 0.2; do
        HF_TEST_BUG=$bug HF_TEST_SCALE=$scale timeout 150 "$test" >"out-$bug" 2>&1
        code=$?
        if [ "$code" -eq 1 ] || { [ "$code" -gt 128 ] && [ "$code" -ne 137 ]; }; then
            echo "$bug: $(grep -m1 -E 'FAILED|could not be' "out-$bug" | cut -c 1-130)"
            exit 0
        fi
    done
    echo "FAILED: nobody noticed $bug (exit code $code)"
    exit 0
fi

if ! HF_TEST_SCALE=0.02 "$test" >out 2>&1; then
    cat out
    echo 'FAILED: it fails without a planted bug'
    echo '0 passed, 1 failed'
    exit 1
fi
[ $# -gt 0 ] || set -- $(HF_TEST_BUG='?' "$test")
printf '%s\n' "$@" | xargs -P 2 -n 1 sh "$0" --one | tee noticed
failed=$(grep -c '^FAILED:' noticed)
passed=$(($# - failed))
[ "$(wc -l <noticed)" -eq $# ] || failed=$((failed + 1)) # one of them said nothing
echo "$passed passed, $failed failed"
test "$failed" -eq 0 && test "$passed" -ne 0
