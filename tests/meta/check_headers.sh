#!/bin/sh
# SPDX-License-Identifier: MIT
# check_headers.sh ROOT CC CXX [FLAGS...] - every header compiles alone, and twice in a row
#
# Internal and public ones as C11, public ones as C++17 too, all without a warning.
set -eu
root=$1
cc=$2
cxx=$3
shift 3
cd "$root"
code=0
warnings="-Wall -Wextra -Wshadow -Wundef -Wpedantic -Werror -fsyntax-only"

compiles() { # header, compiler and options...
    header=$1
    shift
    if ! printf '#include "%s"\n#include "%s"\nextern int hf_no_empty_unit;\n' \
        "$header" "$header" | "$@" - >header.log 2>&1; then
        echo "$header does not compile alone with: $*"
        cat header.log
        code=1
    fi
}

log_folder=$(mktemp -d)
trap 'rm -rf "$log_folder"' EXIT
include="-I$PWD -I$PWD/include"
headers=$(find include base alloc index sync store tools -name '*.h')
cd "$log_folder"
count=0
for header in $headers; do
    count=$((count + 1))
    case $header in
    include/*)
        # A program sees no _GNU_SOURCE and no internal header.
        public="-I$root/include"
        name=${header#include/}
        compiles "$name" "$cc" -std=c11 -Wconversion $warnings $public "$@" -x c
        compiles "$name" "$cxx" -std=c++17 $warnings $public "$@" -x c++
        ;;
    *)
        compiles "$header" "$cc" -std=c11 -Wconversion -D_GNU_SOURCE $warnings $include "$@" -x c
        ;;
    esac
done
echo "$count headers"
[ "$count" -gt 0 ] || code=1
exit $code
