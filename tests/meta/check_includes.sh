#!/bin/sh
# SPDX-License-Identifier: MIT
# check_includes.sh ROOT - includes point one way: tools -> store -> {alloc, index, sync} -> base
#
#   - a room includes only itself and rooms below it; alloc/ and index/ never see a file either
#   - a public header includes only public headers and freestanding C headers
#   - nothing is #included that ends in .c
set -eu
cd "$1"

files=$(find base alloc index sync store tools include tests examples -name '*.[ch]' -o -name '*.cpp')
[ -n "$files" ] || { echo "no sources below $1"; exit 1; }

# shellcheck disable=SC2086 # the names hold no blanks
awk '
function wrong(why) {
    printf "%s:%d: %s\n    %s\n", FILENAME, FNR, why, $0
    count++
}
BEGIN {
    below["base"] = " base "
    below["alloc"] = " alloc base "
    below["index"] = " index base "
    below["sync"] = " sync base "
    below["store"] = " store alloc index sync base "
    below["tools"] = " tools store alloc index sync base "
    is_room = below["tools"]
}
FNR == 1 {
    room = FILENAME
    sub(/\/.*/, "", room)
}
/^[ \t]*#[ \t]*include[ \t]/ {
    name = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
    system_header = (substr(name, 1, 1) == "<")
    name = substr(name, 2)
    sub(/[">].*/, "", name)
    target = index(name, "/") ? name : room "/" name # no folder: the same one
    sub(/\/.*/, "", target)
    own = (name !~ /\//)

    if (name ~ /\.(c|cpp|cc)$/)
        wrong("a source file is included")
    if (name ~ /\.\.\//)
        wrong("an include climbs out of its folder")
    if (room == "include") {
        if (system_header && name !~ /^(stddef|stdint|stdbool|limits)\.h$/)
            wrong("a public header includes more than freestanding C")
        if (!system_header && !own && target != "holdfast")
            wrong("a public header includes an internal one")
    } else if (room in below && !system_header && !own && target != "holdfast" &&
               name != "holdfast.h" && !index(below[room], " " target " "))
        wrong(room "/ must not include from " target "/")
    if ((room == "alloc" || room == "index") && system_header &&
        name ~ /^(sys\/|fcntl|unistd|stdio|pthread|linux\/)/)
        wrong(room "/ works on memory alone: no files, no system calls")
    if ((room == "alloc" || room == "index") && name ~ /^base\/os\.h$/)
        wrong(room "/ works on memory alone: no system calls")
}
END { exit (count > 0) }' $files
