#!/bin/sh
# SPDX-License-Identifier: MIT
# check_formats.sh ROOT - what is in the file is declared in *_format.h and nowhere else
#
#   - a struct whose offsets are asserted, or that says it is "on file", stands in a *_format.h
#   - there each field has a fixed width, and an assert on its offset; each struct one on its size
set -eu
cd "$1"

formats=$(find base alloc index sync store -name '*_format.h')
[ -n "$formats" ] || { echo "no *_format.h below $1"; exit 1; }
code=0

# shellcheck disable=SC2046
others=$(find base alloc index sync store tools include -name '*.[ch]' ! -name '*_format.h')
defined=$(sed -n 's/^struct \([a-z0-9_]*\) {.*/\1/p' $formats | tr '\n' ' ')
awk -v defined=" $defined" '
/_Static_assert\(offsetof\(struct / {
    name = $0
    sub(/.*offsetof\(struct /, "", name)
    sub(/,.*/, "", name)
    if (!index(defined, " " name " "))
        count += wrong()
}
/^(typedef )?struct [a-z0-9_]+ \{ *\/\* [Oo]n[- ](the )?file/ { count += wrong() }
function wrong() {
    printf "%s:%d: a struct of the file format outside of *_format.h\n    %s\n", FILENAME, FNR, $0
    return 1
}
END { exit (count > 0) }' $others || code=1

awk '
function wrong(why) {
    printf "%s: %s\n", FILENAME, why
    count++
}
# A field that is no fixed-width integer or struct of ours could mean something else to another
# compiler, or nothing at all to the next process.
function field(line,    type, name) {
    sub(/\/\*.*/, "", line)
    if (line !~ /;/)
        return
    sub(/^[ \t]+/, "", line)
    if (line !~ /^((u?int(8|16|32|64)_t)|unsigned char|char|struct hf__[a-z0-9_]+) [a-z0-9_]+/)
        wrong("struct " current ": not of fixed width: " line)
    else if (line ~ /[*]|:[ ]*[0-9]/)
        wrong("struct " current ": a pointer or a bit-field: " line)
    type = line
    sub(/;.*/, "", line)
    gsub(/\[[^]]*\]/, "", line)
    sub(/^(unsigned |struct )?[a-z0-9_]+ /, "", line)
    n = split(line, names, /, */)
    for (i = 1; i <= n; i++)
        fields[++total] = current " " names[i]
}
FNR == 1 { current = "" }
/^struct [a-z0-9_]+ \{/ {
    current = $2
    structs[current] = FILENAME
    next
}
current != "" && /^\}/ { current = ""; next }
current != "" { field($0) }
{
    line = $0
    while (match(line, /offsetof\(struct [a-z0-9_]+, [a-z0-9_]+/)) {
        one = substr(line, RSTART + 16, RLENGTH - 16)
        sub(/,/, "", one)
        asserted[one] = 1
        line = substr(line, RSTART + RLENGTH)
    }
    line = $0
    while (match(line, /sizeof\(struct [a-z0-9_]+\) ==/)) {
        one = substr(line, RSTART + 14, RLENGTH - 14)
        sub(/\).*/, "", one)
        sized[one] = 1
        line = substr(line, RSTART + RLENGTH)
    }
}
END {
    for (i = 1; i <= total; i++)
        if (!(fields[i] in asserted)) {
            split(fields[i], part, " ")
            printf "%s: struct %s: no assert on the offset of %s\n", structs[part[1]], part[1], part[2]
            count++
        }
    for (name in structs)
        if (!(name in sized)) {
            printf "%s: struct %s: no assert on its size\n", structs[name], name
            count++
        }
    exit (count > 0)
}' $formats || code=1
exit $code
