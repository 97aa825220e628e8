#!/bin/sh
# SPDX-License-Identifier: MIT
# quick_test.sh - scripts/bench works: every workload runs, and its three reports hold what it measured
#
#   bench/quick_test.sh DIRECTORY     where it builds and writes
#
# One round of small sizes with the peers that are there. What the figures are doesn't matter.
set -eu
cd "$(dirname "$0")/.."
out=$1
mkdir -p "$out"
HF_BENCH_OUT=$out HF_BENCH_DIR=$out/data scripts/bench --quick --rounds 1 --no-install >"$out.log" 2>&1 || {
    cat "$out.log"
    exit 1
}
bad=0
complain() {
    echo "$1"
    bad=1
}
for workload in $(sed -n 's/^all_workloads="\($all_workloads \)\{0,1\}\(.*\)"$/\2/p' scripts/bench); do
    figures=$(awk -F'\t' -v workload="$workload" '$1 == workload' "$out/results.tsv" | wc -l)
    [ "$figures" -gt 0 ] || complain "$workload: nothing was measured"
    grep -q "^$workload: ." "$out/table.txt" || complain "$workload: not in the table, or not explained"
    [ "$(grep -c "\"workload\": \"$workload\"" "$out/results.json")" = "$figures" ] ||
        complain "$workload: results.json doesn't hold its $figures figures"
    grep -q "<h2 id=\"$workload\">" "$out/index.html" || complain "$workload: not on the page"
done
[ "$(tail -n 1 "$out/index.html")" = "</body></html>" ] || complain "the page has no end"
[ "$(grep -o '<svg' "$out/index.html" | wc -l)" = "$(grep -o '</svg>' "$out/index.html" | wc -l)" ] ||
    complain "a plot has no end"
# What was measured at three sizes or more is drawn as a line against them, and nothing else is.
lines=$(awk -F'\t' '$2 !~ /commit_share$/ && !seen[$1, $2, $3]++ && ++sizes[$1, $2] == 3 { lines++ }
    END { print lines + 0 }' "$out/results.tsv")
[ "$lines" -gt 0 ] || complain "nothing was measured at three sizes"
[ "$(grep -c 'aria-label="[^"]* against ' "$out/index.html")" = "$lines" ] ||
    complain "not all of the $lines figures that were measured at several sizes are drawn against these"
# A lazy commit shows only when it is durable: what was filled is there for who reads it right away.
for work in "read 20000 1 1" "scan 20000 random"; do
    rm -rf "$out/lazy"
    mkdir "$out/lazy"
    # shellcheck disable=SC2086
    "$out/drivers/kv_holdfast" "$out/lazy" hash-lazy $work >"$out/lazy.txt" 2>&1 ||
        complain "kv_holdfast hash-lazy $work: $(tail -n 1 "$out/lazy.txt")"
done
rm -rf "$out/lazy"
if grep -nEi '[^a-z](nan|inf)[^a-z]' "$out/results.tsv" "$out/index.html"; then
    complain "that is no number"
fi
exit $bad
