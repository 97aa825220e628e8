# SPDX-License-Identifier: MIT
# test_values.sh - create, put, get, ls, rm and stat
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

test_create_makes_what_was_asked_for() {
    expect 0 holdfast create --size 4M --max-size 1G --allocator seq_fit --index hash \
        --layout org.example.x --layout-version 7 --mode 600 a.hf
    [ "$(stat -c %a a.hf)" = 600 ] || die "permissions $(stat -c %a a.hf)"
    expect 0 holdfast stat --json a.hf
    is_json out
    says '"allocator": "seq_fit"' out
    says '"index": "hash"' out
    says '"layout": "org.example.x"' out
    says '"layout_version": 7' out
    [ "$(json_number size_max_bytes out)" -le 1073741824 ]
    [ "$(json_number size_bytes out)" -ge 4194304 ]
    [ ! -e a.hf-lock ] || die "a sidecar was left"
}

test_create_refuses_what_exists_and_what_makes_no_sense() {
    holdfast create --quiet a.hf
    cp a.hf before
    expect 9 holdfast create a.hf
    cmp a.hf before
    expect 9 holdfast create --json a.hf
    is_json out
    says HF_EEXIST out
    for bad in "--size 12Q" "--size -1" "--size 0" "--size 99999999999999999999" "--size 0x10" \
        "--size 20000000T" "--allocator magic" "--index 1" "--mode 999" "--mode 0" "--mode 7777" \
        "--layout-version 1" "--layout-version x --layout y" "--size 2M --max-size 1M"; do
        # shellcheck disable=SC2086
        expect 2 holdfast create $bad b.hf
    done
    expect 2 holdfast create --layout "$(printf '%064d' 0)" b.hf
    expect 3 holdfast create missing/b.hf
    [ ! -e b.hf ] || die "made a store after all"
}

test_put_and_get_are_exact() {
    holdfast create --quiet a.hf
    head -c 300000 /dev/urandom >random
    : >empty
    for file in random empty; do
        expect 0 holdfast put a.hf "$file" "$file"
        expect 0 holdfast get a.hf "$file"
        cmp out "$file"
        expect 0 holdfast get a.hf "$file" -o copy
        cmp copy "$file"
    done
    holdfast put a.hf piped <random
    holdfast get a.hf piped | cmp - random
    # shellcheck disable=SC2002
    cat random | holdfast put a.hf piped2 -
    holdfast get a.hf piped2 | cmp - random
    holdfast put a.hf text --value "a value"
    [ "$(holdfast get a.hf text)" = "a value" ]
    holdfast put a.hf none --value ""
    [ "$(holdfast get a.hf none | wc -c)" = 0 ]
    holdfast put a.hf proc /proc/self/status
    [ "$(holdfast get a.hf proc | wc -c)" -gt 100 ]
    { head -c 5 >/dev/null && holdfast put a.hf rest; } <random
    [ "$(holdfast get a.hf rest | wc -c)" -lt 300000 ]
}

# Files of /sys announce a page and end earlier.
test_a_file_that_ends_early_is_stored_with_what_there_was() {
    file=/sys/kernel/mm/transparent_hugepage/enabled
    [ -r "$file" ] && [ "$(stat -c %s $file)" = 4096 ] || skip "no such file here"
    holdfast create --quiet a.hf
    expect 0 holdfast put --json a.hf x $file
    [ "$(json_number size_bytes out)" = "$(wc -c <$file)" ] || die "$(cat out)"
    holdfast get a.hf x | cmp - $file
    expect 0 holdfast fsck --quiet a.hf
}

test_put_replaces() {
    holdfast create --quiet a.hf
    expect 0 holdfast put --json a.hf n --value one
    is_json out
    says '"replaced": false' out
    expect 9 holdfast put --no-replace a.hf n --value two
    [ "$(holdfast get a.hf n)" = one ]
    expect 0 holdfast put --json a.hf n --value three
    says '"replaced": true' out
    [ "$(holdfast get a.hf n)" = three ]
    expect 3 holdfast put a.hf n missing
    expect 3 holdfast put a.hf n .
    [ "$(holdfast get a.hf n)" = three ]
    expect 0 holdfast put --create b.hf n --value x
    expect 3 holdfast put c.hf n --value x
    [ ! -e c.hf ] || die "made a store without --create"
}

test_get_writes_programs_executable() {
    holdfast create --quiet a.hf
    holdfast put --quiet --program a.hf run --value '#!/bin/sh'
    holdfast get a.hf run -o run
    [ -x run ]
    holdfast put --quiet a.hf run --value '#!/bin/sh'
    holdfast get a.hf run -o run
    [ ! -x run ]
}

test_odd_names() {
    newline=$(printf 'two\nlines')
    invalid=$(printf 'bad\377byte')
    long=$(printf '%04095d' 0)
    holdfast create --quiet a.hf
    for name in "with space" "$newline" 'quo"te\\' "grün/日本語" "$invalid" "$long" "-dash" "/" ..; do
        expect 0 holdfast put --quiet -- a.hf "$name" /dev/fd/3 3<<X
$name
X
        expect 0 holdfast get -- a.hf "$name"
        [ "$(cat out)" = "$name" ] || die "$name"
    done
    [ "$(holdfast ls --null a.hf | tr -cd '\0' | wc -c)" = 9 ]
    expect 0 holdfast ls --json a.hf
    is_json out
    says '"name": "two\nlines"' out
    says '"name": "quo\"te\\\\' out
    says '"name": "grün/日本語"' out
    says '"name": "bad\ufffdbyte", "name_hex": "626164ff62797465"' out
    expect 2 holdfast put a.hf "" --value x
    expect 2 holdfast put a.hf "${long}x" --value x
    expect 0 holdfast ls --json a.hf
    [ "$(json_number count out | head -n 1)" -ge 1 ]
    [ "$(grep -c '{"name"' out)" = 9 ]
}

test_get_json_holds_the_value() {
    holdfast create --quiet a.hf
    printf 'a\tb\001\n"\\' | holdfast put --quiet a.hf x
    expect 0 holdfast get --json a.hf x
    is_json out
    says '"value": "a\tb\u0001\n\"\\"' out
    printf '\300\200\355\240\200\364\220\200\200\xf0\x9f\x98\x80' >bytes
    holdfast put --quiet a.hf y bytes
    expect 0 holdfast get --json a.hf y
    is_json out
    says '"value_hex": "c080eda080f4908080' out
    expect 0 holdfast get --json a.hf y -o file
    is_json out
    cmp file bytes
}

test_ls_lists_by_prefix_in_order() {
    holdfast create --quiet a.hf
    for name in b a/2 a/1 c a; do
        holdfast put --quiet a.hf "$name" --value 12345
    done
    [ "$(holdfast ls a.hf | tr '\n' ' ')" = "a a/1 a/2 b c " ]
    [ "$(holdfast ls a.hf a/ | tr '\n' ' ')" = "a/1 a/2 " ]
    expect 1 holdfast ls a.hf nothing
    expect 1 holdfast ls --json a.hf nothing
    is_json out
    expect 0 holdfast ls --long a.hf b
    grep -qE '^holdfast.file +1 +5 +5  b$' out || die "$(cat out)"
    expect 0 holdfast ls --unique a.hf
    [ ! -s out ]
    expect 0 holdfast ls --unique --json a.hf
    is_json out
}

test_rm_is_all_or_nothing() {
    holdfast create --quiet a.hf
    for name in x y p/1 p/2 p/3; do
        holdfast put --quiet a.hf "$name" --value v
    done
    expect 1 holdfast rm a.hf x missing
    says missing err
    [ "$(holdfast ls a.hf | wc -l)" = 5 ] || die "something was removed"
    expect 1 holdfast rm a.hf x x
    [ "$(holdfast ls a.hf | wc -l)" = 5 ] || die "something was removed"
    expect 0 holdfast rm --force --json a.hf x missing
    is_json out
    says '"removed": 1' out
    expect 1 holdfast rm a.hf --prefix q/
    expect 0 holdfast rm a.hf y --prefix p/
    [ "$(holdfast ls a.hf | wc -l)" = 0 ]
    # What is named and has the prefix is removed once.
    for name in p/1 p/2; do
        holdfast put --quiet a.hf "$name" --value v
    done
    expect 0 holdfast rm --json a.hf p/2 --prefix p/
    says '"removed": 2' out
    holdfast put --quiet a.hf p/1 --value v
    expect 0 holdfast rm --json a.hf p/1 --prefix p/
    says '"removed": 1' out
    expect 0 holdfast fsck --quiet a.hf
}

test_stat_adds_up() {
    holdfast create --quiet a.hf
    expect 0 holdfast stat --json a.hf
    free_before=$(json_number live_bytes out)
    holdfast put --quiet a.hf one --value 12345
    holdfast put --quiet --program a.hf two --value 678
    expect 0 holdfast stat a.hf
    for part in "2 named" holdfast.file holdfast.program slab "index set"; do
        says "$part" out
    done
    expect 0 holdfast stat --json a.hf
    is_json out
    [ "$(json_number named_count out)" = 2 ]
    [ "$(json_number live_bytes out)" -gt "$free_before" ]
    [ "$(json_number file_bytes out)" = "$(stat -c %s a.hf)" ]
    says '{"kind": "named", "count": 2, "elements": 8, "size_bytes": 8,' out
    says '{"type": "holdfast.file", "version": 1, "count": 1, "elements": 5, "size_bytes": 5,' out
    expect 0 holdfast stat --brief --json a.hf
    is_json out
    if grep -q '"kinds"' out; then
        die "--brief walked the objects"
    fi
}

test_a_store_without_names() {
    holdfast create --quiet --index null a.hf
    expect 8 holdfast put a.hf x --value y
    expect 1 holdfast get a.hf x
    expect 0 holdfast stat a.hf
}

test_what_is_missing_or_no_store() {
    expect 3 holdfast stat missing.hf
    expect 3 holdfast stat --json missing.hf
    is_json out
    says '"code": "HF_ENOENT"' out
    says "missing.hf" err
    expect 3 holdfast ls /dev/null
    expect 3 holdfast get . x
    head -c 200000 /dev/zero | tr '\0' 'x' >foreign
    cp foreign before
    expect 3 holdfast put foreign x --value y
    expect 3 holdfast stat foreign
    cmp foreign before
    holdfast create --quiet a.hf
    expect 1 holdfast get a.hf nothing
    says nothing err
    expect 1 holdfast get --json a.hf nothing
    is_json out
    says '"code": "HF_ENOTFOUND"' out
}

test_full_and_closed_outputs_are_noticed() {
    [ -c /dev/full ] || skip "no /dev/full"
    holdfast create --quiet a.hf
    head -c 300000 /dev/urandom | holdfast put --quiet a.hf x
    for call in "get a.hf x" "ls a.hf" "ls --json a.hf" "stat a.hf" "--help" "put a.hf y --value z"; do
        code=0
        # shellcheck disable=SC2086
        holdfast $call >/dev/full 2>err || code=$?
        [ "$code" = 6 ] || die "holdfast $call >/dev/full: exit code $code"
        says "No space left" err
    done
    expect 6 holdfast get a.hf x -o /dev/full
    says "/dev/full" err
    code=0
    holdfast fsck a.hf >/dev/full 2>err || code=$?
    [ "$code" = 8 ] || die "fsck >/dev/full: $code"
    code=0
    holdfast get a.hf y >&- 2>err || code=$?
    [ "$code" = 7 ] || die "closed standard output: $code"
    cp a.hf before
    holdfast ls a.hf nothing 2>&- >&- || true
    cmp a.hf before || die "a message went into the store"
    # A reader that goes away is not worth a message.
    { holdfast get a.hf x 2>err || echo $? >code; } | head -c 10 >/dev/null
    [ "$(cat code)" = 7 ] || die "broken pipe: $(cat code)"
    [ ! -s err ] || die "$(cat err)"
    [ ! -e a.hf-lock ] || die "a sidecar was left"
}

test_unreadable_files_are_told() {
    [ "$(id -u)" != 0 ] || skip "root reads everything"
    holdfast create --quiet a.hf
    chmod 000 a.hf
    expect 3 holdfast stat a.hf
    expect 3 holdfast put a.hf x --value y
    chmod 444 a.hf
    expect 0 holdfast stat a.hf
    expect 3 holdfast put a.hf x --value y
}

test_get_tells_of_errors_that_come_late() {
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x --value new
    echo old >value
    for call in fsync close; do
        expect 7 failing $call get a.hf x -o value
        says value err
        [ "$(cat value)" = old ] || die "replaced: $(cat value)"
    done
    expect 7 failing directory get a.hf x -o value
    expect 0 holdfast get a.hf x -o value
    [ "$(cat value)" = new ]
    [ "$(find . -name 'value*')" = ./value ] || die "left behind: $(find . -name 'value*')"
}

test_messages_about_long_names_say_what_is_wrong() {
    name=$(head -c 4095 /dev/zero | tr '\0' n)
    holdfast create --quiet a.hf
    expect 1 holdfast get a.hf "$name"
    says "no such object" err
    holdfast put --quiet a.hf "$name" --value 1
    expect 9 holdfast put --no-replace --json a.hf "$name" --value 2
    says "$name: exists already" err
    is_json out
    says "$name: exists already" out
    expect 1 holdfast export a.hf directory
    says "$name: File name too long" err
}

run_tests test_create_makes_what_was_asked_for test_create_refuses_what_exists_and_what_makes_no_sense \
    test_put_and_get_are_exact test_a_file_that_ends_early_is_stored_with_what_there_was \
    test_put_replaces test_get_writes_programs_executable test_odd_names \
    test_messages_about_long_names_say_what_is_wrong \
    test_get_json_holds_the_value test_ls_lists_by_prefix_in_order test_rm_is_all_or_nothing \
    test_stat_adds_up test_a_store_without_names test_what_is_missing_or_no_store \
    test_full_and_closed_outputs_are_noticed test_unreadable_files_are_told \
    test_get_tells_of_errors_that_come_late
