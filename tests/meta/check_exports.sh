#!/bin/sh
# SPDX-License-Identifier: MIT
# check_exports.sh ROOT SHARED-LIBRARY STATIC-LIBRARY - what a program linked to Holdfast can see
#
#   - the shared library exports exactly what the public headers declare HF_API, versioned
#   - the static library defines no global name but hf_* and hf__*
set -eu
root=$1
shared=$2
static=$3
code=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

# A declaration: HF_API, a type, the name, a parenthesis; comments go first.
cat "$root"/include/holdfast/*.h | tr '\n' ' ' | sed 's|/\*[^*]*\*\(\**[^*/][^*]*\*\)*\**/| |g' |
    grep -oE 'HF_API [^;({]*\(' | grep -oE 'hf_[a-z0-9_]+\($' | tr -d '(' | sort -u >"$work/declared"
nm -D --defined-only "$shared" | awk '$2 != "A" { print $3 }' | sort -u >"$work/versioned"
sed 's/@.*//' "$work/versioned" | sort -u >"$work/exported"
[ -s "$work/declared" ] || { echo "no declaration was found"; exit 1; }

if grep -vE '^hf_[a-z][a-z0-9_]*@@HOLDFAST_[0-9.]+$' "$work/versioned"; then
    echo "exported, but not a versioned hf_ name"
    code=1
fi
if comm -23 "$work/declared" "$work/exported" | grep .; then
    echo "declared in the public headers, but not exported"
    code=1
fi
if comm -13 "$work/declared" "$work/exported" | grep .; then
    echo "exported, but not declared in the public headers"
    code=1
fi
if nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | grep -vE '^hf_'; then
    echo "global names in the static library that begin with neither hf_ nor hf__"
    code=1
fi
echo "$(wc -l <"$work/exported") functions exported"
exit $code
