#!/bin/sh
# SPDX-License-Identifier: MIT
# check_install.sh ROOT BUILD CC - the installed tree serves a program that knows nothing of this one
#
# Installs to a temporary prefix, moves that elsewhere, and from there builds and runs a program by
# pkg-config (shared, static) and by find_package(holdfast) (shared, static).
set -eu
root=$1
build=$2
cc=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "$1"
    exit 1
}

cmake --install "$build" --prefix "$work/first" >install.log || { cat install.log; exit 1; }
mv first moved
prefix=$work/moved

# What is there, and what must not be.
for header in $(cd "$root/include" && find . -name '*.h'); do
    [ -f "$prefix/include/$header" ] || fail "$header is not installed"
done
[ "$(find "$prefix/include" -type f | wc -l)" -eq "$(find "$root/include" -name '*.h' | wc -l)" ] ||
    fail "more headers are installed than the public ones"
[ "$("$prefix/bin/holdfast" --version | grep -c '[0-9]\.[0-9]')" -ge 1 ] ||
    fail "holdfast --version says no version"
"$prefix/bin/fsck.holdfast" --help >/dev/null || fail "fsck.holdfast --help fails"
for page in "$root"/man/*.[1-8]; do
    [ -e "$page" ] || continue
    name=${page##*/}
    [ -f "$prefix/share/man/man${name##*.}/$name" ] || fail "$name is not installed"
done
if [ -d "$root/completions" ]; then
    [ -f "$prefix/share/bash-completion/completions/holdfast" ] || fail "no completion for bash"
fi
library=$(find "$prefix" -name libholdfast.so.0)
[ -n "$library" ] || fail "there is no libholdfast.so.0"
library_folder=$(dirname "$library")
readelf -d "$library" | grep -q 'SONAME.*\[libholdfast.so.0\]' || fail "the soname is not libholdfast.so.0"

cat >consumer.c <<'END'
#include <holdfast.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
struct counter { uint64_t hits; };
int main(int argc, char **argv)
{
    hf_type type = {"counter", 1, sizeof(struct counter), 8, 0, NULL, 0};
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    if (argc != 2 || strcmp(hf_version(), HF_VERSION) != 0)
        return 2;
    if (hf_open(argv[1], NULL, &store) != 0 || hf_begin(store, &txn) != 0) {
        fprintf(stderr, "%s\n", hf_last_error()->message);
        return 1;
    }
    struct counter *counter = hf_find_or_construct(txn, "hits", &type, 1, NULL);
    if (counter == NULL)
        return 1;
    printf("%llu\n", (unsigned long long)++counter->hits);
    return hf_commit(txn) != 0 || hf_close(store) != 0;
}
END

needs_shared() { # program: is libholdfast.so.0 among what it loads?
    readelf -d "$1" | grep -q 'NEEDED.*libholdfast.so.0'
}
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name holdfast.pc)")
export PKG_CONFIG_PATH
warnings="-std=c11 -Wall -Wextra -Werror"

# shellcheck disable=SC2046,SC2086
"$cc" $warnings -o by_pc_shared consumer.c $(pkg-config --cflags --libs holdfast)
needs_shared by_pc_shared || fail "pkg-config --libs gave no shared library"
# shellcheck disable=SC2046,SC2086
"$cc" $warnings -static -o by_pc_static consumer.c $(pkg-config --static --cflags --libs holdfast)
! needs_shared by_pc_static || fail "pkg-config --static gave a shared library"

mkdir consumer
mv consumer.c consumer
cat >consumer/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(consumer C)
if(WANT_STATIC)
    find_package(holdfast 0.1 REQUIRED COMPONENTS static)
else()
    find_package(holdfast 0.1 REQUIRED)
endif()
add_executable(consumer consumer.c)
target_link_libraries(consumer PRIVATE holdfast::holdfast)
END
for kind in OFF ON; do
    { cmake -S consumer -B "by_cmake_$kind" -DWANT_STATIC=$kind -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_COMPILER="$cc" && cmake --build "by_cmake_$kind"; } >cmake.log 2>&1 ||
        { cat cmake.log; fail "find_package(holdfast) failed (static: $kind)"; }
done
needs_shared by_cmake_OFF/consumer || fail "find_package gave no shared library"
! needs_shared by_cmake_ON/consumer || fail "COMPONENTS static gave a shared library"

# All four work on one store, one after the other.
expected=0
for program in by_pc_shared by_pc_static by_cmake_OFF/consumer by_cmake_ON/consumer; do
    expected=$((expected + 1))
    seen=$(LD_LIBRARY_PATH=$library_folder "./$program" hits.hf)
    [ "$seen" = "$expected" ] || fail "$program counted '$seen', expected $expected"
done
"$prefix/bin/fsck.holdfast" hits.hf >fsck.log || { cat fsck.log; fail "fsck found something"; }
