#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Breaks one rule of the log's protocol at a time (base/bug.h) and expects the power-cut test to
# notice each. By hand: HF_TEST_PLANTED=1 (it takes some ten minutes, and not each is noticed yet).
set -u
[ -n "${HF_TEST_PLANTED-}" ] || exit 77
test=$HF_BUILD_DIR/tests/crash_power_cut_buggy
export HF_TEST_SCALE=0.3
passed=0 failed=0
if ! HF_TEST_SCALE=0.02 "$test" >out 2>&1; then
    echo 'FAILED: it fails without a planted bug'
    cat out
    failed=1
fi
for bug in ${*:-$(HF_TEST_BUG='?' "$test")}; do
    HF_TEST_BUG=$bug timeout 120 "$test" >out 2>&1
    code=$?
    if [ "$code" -eq 0 ] || [ "$code" -eq 124 ]; then
        echo "FAILED: nobody noticed $bug (exit code $code)"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
        echo "$bug: $(grep -m1 -E 'FAILED|could not be' out | cut -c 1-150)"
    fi
done
echo "$passed passed, $failed failed"
test "$failed" -eq 0 && test "$passed" -ne 0
