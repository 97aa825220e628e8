#!/bin/sh
# SPDX-License-Identifier: MIT
# instructions.sh - counts the instructions of a fixed amount of work and compares with the baseline
#
#   bench/instructions.sh [--update] [DIRECTORY]
#
# Builds the library and instructions.c in DIRECTORY (default build/instructions) with flags of its
# own, so that the result is the same from every build, runs it under callgrind and compares each
# count with instructions.baseline. More than 5% off either way fails: if less is right, or more is
# worth it, write the baseline anew with --update and say so in the commit. Counts don't depend on
# how busy the machine is. Exit code 1: off by more; 77: skipped, because valgrind or gcc is missing
# or the baseline is another compiler's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/..
baseline=$here/instructions.baseline
tolerance_percent=5

update=no
if [ "${1-}" = --update ]; then
    update=yes
    shift
fi
work=${1-$root/build/instructions}

counted="alloc free set_construct set_find set_destroy hash_construct hash_find hash_destroy commits
views log_load log_find log_commits log_large log_recover"

for tool in valgrind gcc; do
    command -v "$tool" >/dev/null || { echo "skipped: there is no $tool"; exit 77; }
done
compiler="$(gcc --version | sed -n 1p), $(uname -m)"
if [ "$update" = no ] && [ "$(sed -n 's/^# compiler: //p' "$baseline")" != "$compiler" ]; then
    echo "skipped: the baseline is of $(sed -n 's/^# compiler: //p' "$baseline"), here is $compiler"
    exit 77
fi

mkdir -p "$work"
cd "$work"
rm -f counts counts.[0-9]*
if ! gcc -std=c11 -D_GNU_SOURCE -DNDEBUG -O2 -g -fno-ipa-icf -pthread \
    -I "$root" -I "$root/include" "$here/instructions.c" "$root"/base/*.c "$root"/alloc/*.c \
    "$root"/index/*.c "$root"/sync/*.c "$root"/store/*.c -lzstd -o instructions >build.log 2>&1; then
    cat build.log
    exit 1
fi
# The toggle counts inside counted_* only; the dump after each writes its count and starts at zero.
dumps=""
for name in $counted; do
    dumps="$dumps --dump-after=counted_$name"
done
# shellcheck disable=SC2086 # the options are words
if ! valgrind --tool=callgrind --callgrind-out-file=counts '--toggle-collect=counted_*' $dumps \
    ./instructions >valgrind.log 2>&1; then
    cat valgrind.log
    exit 1
fi
for file in counts.[0-9]*; do
    awk '/^desc: Trigger: --dump-after=counted_/ { sub(/.*=counted_/, ""); name = $0 }
         /^totals:/ && name != "" { print name, $2 }' "$file"
done | sort >found

if [ "$update" = yes ]; then
    {
        echo "# Instructions of bench/instructions.c, by bench/instructions.sh --update"
        echo "# compiler: $compiler"
        cat found
    } >"$baseline"
    cat "$baseline"
    exit 0
fi
awk -v tolerance="$tolerance_percent" '
    /^#/ { next }
    NR == FNR { wanted[$1] = $2; next }
    {
        seen[$1] = 1
        if (!($1 in wanted)) {
            printf "%-16s %12d  is not in the baseline\n", $1, $2
            bad = 1
            next
        }
        change = ($2 / wanted[$1] - 1) * 100
        off = change > tolerance || change < -tolerance
        printf "%-16s %12d  baseline %12d  %+6.1f%%%s\n", $1, $2, wanted[$1], change,
            off ? "  MORE THAN " tolerance "% OFF" : ""
        bad = bad || off
    }
    END {
        for (name in wanted)
            if (!(name in seen)) {
                printf "%-16s was not counted\n", name
                bad = 1
            }
        exit bad
    }' "$baseline" found
