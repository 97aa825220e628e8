#!/bin/sh
# SPDX-License-Identifier: MIT
# check_errors.sh ROOT - every error code is documented, and every code that is named exists
#
#   - values are -1, -2, -3 ... each once, each with a text
#   - each code is named in the contract of at least one function of the public headers
#   - if there is a page man/*errors*, each code is on it
#   - no header, manual page or document names a code that isn't in the table
set -eu
cd "$1"
code=0
table=include/holdfast/error.h

codes=$(sed -n 's/^ *X(\(HF_E[A-Z_]*\), *\(-[0-9]*\), *"[^"][^"]*").*/\1 \2/p' "$table")
[ -n "$codes" ] || { echo "no table of errors in $table"; exit 1; }
[ "$(echo "$codes" | wc -l)" -eq "$(grep -c '^ *X(HF_' "$table")" ] ||
    { echo "$table: a line of the table is not understood"; code=1; }
echo "$codes" | awk '$2 != -NR { print $1 ": value " $2 ", expected " -NR; bad = 1 } END { exit bad }' ||
    code=1

names=$(echo "$codes" | cut -d ' ' -f 1)
contracts=$(find include/holdfast -name '*.h' ! -name error.h)
pages=$(find man -name '*error*' 2>/dev/null || true)
for name in $names; do
    # shellcheck disable=SC2086
    grep -qwF -e "$name" $contracts || { echo "$name: no public function says it returns it"; code=1; }
    for page in $pages; do
        grep -qwF -e "$name" "$page" || { echo "$page: $name is missing"; code=1; }
    done
done

documents=$(find include docs man README.md -type f 2>/dev/null || true)
# shellcheck disable=SC2086
for name in $(grep -ohwE 'HF_E[A-Z_]{2,}' $documents | sort -u); do
    case $name in HF_ERROR* | HF_ENGINE* | HF_EXPAND*) continue ;; esac
    echo "$names" | grep -qx "$name" || { echo "$name is named, but there is no such code"; code=1; }
done
exit $code
