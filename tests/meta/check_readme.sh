#!/bin/sh
# SPDX-License-Identifier: MIT
# check_readme.sh ROOT CC STATIC-LIBRARY - the README's first C example compiles and runs, twice
#
# The second run finds the store that the first one left.
set -eu
root=$1
cc=$2
static=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

awk '/^```c$/ && !done { inside = 1; next } /^```/ && inside { inside = 0; done = 1 } inside' \
    "$root/README.md" >example.c
[ -s example.c ] || { echo "README.md has no block that begins with \`\`\`c"; exit 1; }
"$cc" -std=c11 -Wall -Wextra -Werror -I "$root/include" -o example example.c "$static" -pthread
./example
./example
