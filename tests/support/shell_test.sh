# SPDX-License-Identifier: MIT
# shell_test.sh - what the shell tests of the command share; sourced by tests/tools/test_*.sh
#
# A test is a function; run_tests runs each in a subshell with `set -e`, in an empty directory of its
# own, and prints lines like cmocka's, which scripts/tally counts. A test that can't run here calls
# skip. HF_COMMAND is the holdfast to test.
set -u
: "${HF_COMMAND:?the path of the holdfast command}"
: "${HF_SOURCE_DIR:?the path of the sources}"
export LC_ALL=C
umask 022

holdfast() {
    "$HF_COMMAND" "$@"
}

die() {
    echo "FAILED: $*" >&2
    exit 1
}

# failing CALL ARGUMENT...: the command, in which that call fails (tests/support/preload).
failing() {
    [ -e "${HF_FAILING_CALLS-}" ] || skip "nothing to preload"
    failing_call=$1
    shift
    HF_FAIL=$failing_call LD_PRELOAD=$HF_FAILING_CALLS \
        ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS-}" "$HF_COMMAND" "$@"
}

skip() {
    echo "skipped: $*"
    exit 77
}

# expect CODE COMMAND...: runs it with its output in the files out and err.
expect() {
    expect_code=$1
    shift
    expect_got=0
    "$@" >out 2>err || expect_got=$?
    if [ "$expect_got" -ne "$expect_code" ]; then
        echo "FAILED: $*: exit code $expect_got, expected $expect_code" >&2
        sed 's/^/  out: /' out | head -n 20 >&2
        sed 's/^/  err: /' err | head -n 20 >&2
        exit 1
    fi
}

# says TEXT FILE: some line of the file holds the text.
says() {
    grep -qF -e "$1" "$2" || {
        echo "FAILED: \"$1\" is not in $2:" >&2
        head -n 20 "$2" >&2
        exit 1
    }
}

# is_json FILE: one valid document in valid UTF-8.
is_json() {
    iconv -f UTF-8 -t UTF-8 "$1" >/dev/null || die "$1 is not UTF-8"
    awk -f "$HF_SOURCE_DIR/tests/support/json_check.awk" "$1" || {
        head -n 20 "$1" >&2
        die "$1 is not JSON"
    }
}

# json_number KEY FILE: the first member of that name.
json_number() {
    sed -n "s/.*\"$1\": \(-\{0,1\}[0-9.]*\).*/\1/p" "$2" | head -n 1
}

# same A B: two trees, or files, alike in every byte, link and executable bit.
same() {
    diff -r --no-dereference "$1" "$2" >difference || {
        head -n 10 difference >&2
        die "$1 and $2 differ"
    }
    (cd "$1" && find . -type f -perm -100 | sort) >programs_1
    (cd "$2" && find . -type f -perm -100 | sort) >programs_2
    cmp programs_1 programs_2 || die "other files are executable in $2 than in $1"
}

run_tests() {
    failed=0
    here=$PWD
    echo "[==========] Running $# test(s)."
    for name; do
        echo "[ RUN      ] $name"
        rm -rf "${here:?}/${name:?}"
        mkdir "$here/$name"
        (
            set -e
            cd "$here/$name"
            "$name"
        )
        case $? in
        0) echo "[       OK ] $name" ;;
        77) echo "[  SKIPPED ] $name" ;;
        *)
            echo "[  FAILED  ] $name"
            failed=$((failed + 1))
            ;;
        esac
    done
    echo "[==========] $# test(s) run."
    [ "$failed" -eq 0 ] || exit 1
}
