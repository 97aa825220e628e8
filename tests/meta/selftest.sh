#!/bin/sh
# SPDX-License-Identifier: MIT
# selftest.sh ROOT CC CXX - breaks each rule of the other checks once and wants to see it noticed
#
# Works on a small tree of its own, which passes every check as long as nothing is broken.
set -eu
here=$1/tests/meta
tally=$1/scripts/tally
cc=$2
cxx=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
passed=0
failed=0

sound_tree() {
    rm -rf "$tree"
    mkdir -p "$tree/include/holdfast" "$tree/docs" "$tree/tests" "$tree/examples"
    cd "$tree"
    for room in base alloc index sync store tools; do
        mkdir "$room"
        printf '%s\n' '/* SPDX-License-Identifier: MIT */' "#include \"$room/one.h\"" \
            'int hf__one_of(void);' >"$room/one.c"
        printf '%s\n' '/* SPDX-License-Identifier: MIT */' '#include <stddef.h>' >"$room/one.h"
    done
    cat >base/one_format.h <<'END'
/* SPDX-License-Identifier: MIT */
#ifndef ONE_FORMAT_H
#define ONE_FORMAT_H
#include <stddef.h>
#include <stdint.h>
struct hf__one {
    uint64_t first;     /* 0 */
    uint32_t second[2]; /* 8 */
};
_Static_assert(sizeof(struct hf__one) == 16, "one");
_Static_assert(offsetof(struct hf__one, first) == 0, "first");
_Static_assert(offsetof(struct hf__one, second) == 8, "second");
#endif
END
    cat >include/holdfast/error.h <<'END'
/* SPDX-License-Identifier: MIT */
#define HF_ERROR_TABLE(X)                                                                          \
    X(HF_EINVAL, -1, "invalid argument")                                                           \
    X(HF_EIO, -2, "input/output error")
END
    cat >include/holdfast/store.h <<'END'
/* SPDX-License-Identifier: MIT */
#ifndef STORE_H
#define STORE_H
#include "error.h"
#include <stddef.h>
#define HF_API __attribute__((visibility("default")))
/* hf_sync - Errors: HF_EINVAL, HF_EIO. */
#ifdef __cplusplus
extern "C" {
#endif
HF_API int hf_sync(void *store);
#ifdef __cplusplus
}
#endif
#endif
END
    cat >"$work/sound.c" <<'END'
#include "include/holdfast/store.h"
int hf__hidden(void);
int hf__hidden(void) { return 0; }
int hf_sync(void *store) { return store == NULL || hf__hidden(); }
END
    cp "$work/sound.c" "$work/library.c"
    echo 'HOLDFAST_0.1 { global: hf_[a-z]*; local: *; };' >"$work/map"
    printf '%s\n' '# One' '[two](docs/two.md)' '```c' '#include "holdfast/store.h"' \
        'int main(void) { return hf_sync("x"); }' '```' >README.md
    echo 'HF_EIO happens.' >docs/two.md
}

library() {
    "$cc" -fPIC -I"$tree" -c -o "$work/library.o" "$work/library.c"
    rm -f "$work/library.a"
    ar rc "$work/library.a" "$work/library.o"
    "$cc" -shared -Wl,--version-script="$work/map" -o "$work/library.so" "$work/library.o"
}

check() { # name
    case $1 in
    headers) sh "$here/check_headers.sh" "$tree" "$cc" "$cxx" ;;
    exports) library && sh "$here/check_exports.sh" "$tree" "$work/library.so" "$work/library.a" ;;
    readme) library && sh "$here/check_readme.sh" "$tree" "$cc" "$work/library.a" ;;
    *) sh "$here/check_$1.sh" "$tree" ;;
    esac
}

# broken CHECK WHAT COMMAND... - COMMAND breaks a sound tree, and CHECK must notice
broken() {
    name=$1
    what=$2
    shift 2
    sound_tree
    "$@"
    if check "$name" >"$work/log" 2>&1; then
        echo "check_$name did not notice: $what"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

append() { # file line...
    file=$1
    shift
    printf '%s\n' "$@" >>"$file"
}
edit() { # file sed-expression
    sed -i -e "$2" "$1"
}

for name in includes formats text errors headers exports readme; do
    sound_tree
    check "$name" >"$work/log" 2>&1 || { echo "check_$name fails on a sound tree:"; cat "$work/log"; exit 1; }
done

broken includes "base includes store" append base/one.c '#include "store/one.h"'
broken includes "alloc includes index" append alloc/one.h '#  include "index/one.h"'
broken includes "index includes the OS seam" append index/one.c '#include "base/os.h"'
broken includes "sync includes store" append sync/one.c '#include "store/one.h"'
broken includes "store includes tools" append store/one.c '#include "tools/one.h"'
broken includes "alloc opens files" append alloc/one.c '#include <fcntl.h>'
broken includes "a public header includes an internal one" \
    append include/holdfast/store.h '#include "base/one.h"'
broken includes "a public header needs POSIX" append include/holdfast/store.h '#include <unistd.h>'
broken includes "a test includes a .c" append tests/one.c '#include "../base/one.c"'
broken includes "a room includes a .c" append base/one.c '#include "two.c"'

broken formats "a struct on file elsewhere" append base/one.h 'struct hf__two { /* on file */' '};'
broken formats "offsets asserted elsewhere" \
    append base/one.h '_Static_assert(offsetof(struct hf__two, x) == 0, "x");'
broken formats "no assert on an offset" edit base/one_format.h '/second) ==/d'
broken formats "no assert on the size" edit base/one_format.h '/sizeof/d'
broken formats "a size_t in the file" edit base/one_format.h 's/uint64_t first/size_t first/'
broken formats "a pointer in the file" edit base/one_format.h 's/uint64_t first/uint64_t *first/'
broken formats "a bit-field in the file" edit base/one_format.h 's/uint64_t first/uint64_t first : 3/'

broken text "no SPDX line" edit base/one.c 1d
broken text "a path of the author's machine" append docs/two.md "see /ro""ot/notes"
broken text "a link that leads nowhere" append README.md '[three](docs/three.md)'

broken errors "a code that no function returns" edit include/holdfast/store.h 's/, HF_EIO//'
broken errors "a value used twice" edit include/holdfast/error.h 's/-2/-1/'
broken errors "a code without a text" edit include/holdfast/error.h 's/"input.*"/""/'
broken errors "a code that does not exist" append docs/two.md 'It returns HF_ENOSUCH.'

broken headers "a header that needs another" append index/one.h 'extern uint32_t hf__index_needs;'
broken headers "a header that can't be included twice" append sync/one.h 'struct hf__twice { int x; };'
broken headers "a public header that is no C++" \
    edit include/holdfast/store.h 's/^HF_API.*/&\nHF_API int hf_x(int *restrict class);/'
broken headers "a public header that warns" \
    append include/holdfast/store.h 'static inline int hf_f(int x, int y) { return x; }'

broken exports "an internal name is exported" edit "$work/map" 's/hf_\[a-z\]\*/hf_*/'
broken exports "no version" edit "$work/map" 's/HOLDFAST_0.1//'
broken exports "a function that is only declared" \
    append include/holdfast/store.h 'HF_API int hf_missing(void);'
broken exports "a function that is not declared" \
    append "$work/library.c" 'int hf_extra(void);' 'int hf_extra(void) { return 0; }'
broken exports "a global name without the prefix" append "$work/library.c" 'int helper;'

broken readme "no example" edit README.md 's/```c/```/'
broken readme "an example that doesn't compile" edit README.md 's/return/retrun/'
broken readme "an example that fails" edit README.md 's/return hf_sync("x")/return 1/'

# The tally: what ctest and cmocka say, and the line that must come of it.
counts() { # expected status line...
    expected=$1
    status=$2
    shift 2
    {
        printf '<testsuite>\n<testcase name="x" classname="x" time="1" status="%s">\n' "$status"
        printf '<system-out>'
        printf '%s\n' "$@"
        printf '</system-out>\n</testcase>\n</testsuite>\n'
    } >"$work/results.xml"
    seen=$(sh "$tally" "$work/results.xml" | tail -n 1) || true
    if [ "$seen" = "$expected" ]; then
        passed=$((passed + 1))
    else
        echo "tally said '$seen', expected '$expected', for $status: $*"
        failed=$((failed + 1))
    fi
}
two='[==========] Running 2 test(s).'
counts "2 passed, 0 failed" run "$two" '[       OK ] a' '[       OK ] b'
counts "1 passed, 0 failed" run "no cmocka here"
counts "0 passed, 1 failed" fail "no cmocka here"
counts "1 passed, 1 failed" fail "$two" '[       OK ] a' '[  FAILED  ] b' \
    '[  FAILED  ] 1 test(s), listed below:' '[  FAILED  ] b'
counts "1 passed, 1 failed" fail "$two" '[       OK ] a' '[ RUN      ] b'
counts "1 passed, 1 failed" run "$two" '[       OK ] a' '[ RUN      ] b'
counts "2 passed, 1 failed" fail "$two" '[       OK ] a' '[       OK ] b'
counts "1 passed, 0 failed" run "$two" '[       OK ] a' '[  SKIPPED ] b' \
    '[  SKIPPED ] 1 test(s), listed below:' '[  SKIPPED ] b'
counts "1 passed, 1 failed" run "$two" "[       OK ] a" "test output was removed since it exceeds the threshold"
echo '<testsuite>' >"$work/results.xml"
if sh "$tally" "$work/results.xml" >/dev/null; then
    echo "tally is content with no results"
    failed=$((failed + 1))
fi

echo "$passed broken rules noticed, $failed not"
[ "$failed" -eq 0 ]
