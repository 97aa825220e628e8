# SPDX-License-Identifier: MIT
# test_trees.sh - import and export
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

# A tree with all that is odd, in the directory given.
make_tree() {
    mkdir -p "$1/sub/deeper" "$1/empty/inside" "$1/ space "
    printf 'hello\n' >"$1/plain"
    : >"$1/sub/nothing"
    head -c 3000000 /dev/urandom >"$1/sub/deeper/large"
    printf '#!/bin/sh\n' >"$1/sub/run"
    chmod 755 "$1/sub/run"
    ln -s plain "$1/link"
    ln -s "/nowhere/at all" "$1/sub/dangling"
    ln -s sub "$1/link-to-directory"
    printf x >"$1/ space / x "
    printf x >"$1/$(printf 'new\nline')"
    printf x >"$1/quo\"te'\\"
    printf x >"$1/grün"
    printf x >"$1/$(printf 'bad\377byte')"
    printf x >"$1/-dash"
    printf x >"$1/.hidden"
    printf x >"$1/$(printf '%0255d' 0)"
}

test_a_tree_comes_back_byte_for_byte() {
    make_tree tree
    holdfast create --quiet a.hf
    expect 0 holdfast import --json a.hf tree
    is_json out
    [ "$(json_number programs out)" = 1 ]
    [ "$(json_number symlinks out)" = 3 ]
    [ "$(json_number directories out)" = 1 ]
    [ "$(json_number transactions out)" = 1 ]
    expect 0 holdfast fsck --quiet a.hf
    expect 0 holdfast export --json a.hf out.d
    is_json out
    same tree out.d
    [ -d out.d/empty/inside ] || die "an empty directory was lost"
    expect 0 holdfast ls --long a.hf sub/run
    says holdfast.program out
    expect 0 holdfast ls --long a.hf empty
    says holdfast.directory out
}

test_every_index_and_allocator_carries_a_tree() {
    make_tree tree
    for index in set hash flat; do
        for allocator in best_fit seq_fit slab; do
            holdfast create --quiet --index $index --allocator $allocator a.hf
            expect 0 holdfast import --quiet a.hf tree
            expect 0 holdfast export --quiet a.hf out.d
            same tree out.d
            expect 0 holdfast fsck --quiet a.hf
            rm -rf a.hf out.d
        done
    done
}

test_prefixes_go_on_and_come_off() {
    make_tree tree
    expect 0 holdfast import --create --quiet a.hf tree --prefix one/
    expect 0 holdfast import --quiet a.hf tree/sub --prefix two/
    expect 0 holdfast import --quiet a.hf tree/plain tree/sub/run --prefix files/
    expect 0 holdfast export a.hf out1 --prefix one/
    same tree out1
    expect 0 holdfast export a.hf out2 --prefix two/
    same tree/sub out2
    [ "$(holdfast ls a.hf files/ | tr '\n' ' ')" = "files/plain files/run " ]
}

test_import_is_all_or_nothing() {
    make_tree tree
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf sub/nothing --value mine
    holdfast ls --long a.hf >before
    expect 9 holdfast import a.hf tree
    says sub/nothing err
    holdfast ls --long a.hf | cmp - before
    expect 3 holdfast import a.hf tree missing
    holdfast ls --long a.hf | cmp - before
    expect 3 holdfast import missing.hf tree
    expect 0 holdfast import --json --replace a.hf tree
    is_json out
    [ "$(json_number replaced out)" = 1 ]
    expect 0 holdfast import --json --replace a.hf tree
    expect 0 holdfast export --quiet a.hf out.d
    same tree out.d
    expect 0 holdfast fsck --quiet a.hf
}

test_batches_commit_as_they_go() {
    mkdir tree
    for i in 1 2 3 4 5 6 7; do
        echo $i >tree/$i
    done
    holdfast create --quiet a.hf
    expect 0 holdfast import --batch 3 --json a.hf tree
    [ "$(json_number transactions out)" = 3 ]
    holdfast rm --quiet a.hf 1 2 3 4 5 7
    expect 9 holdfast import --batch 3 a.hf tree
    says "first 3 objects" err
    [ "$(holdfast ls a.hf | tr '\n' ' ')" = "1 2 3 6 " ]
}

test_special_files_are_left_out_with_a_remark() {
    mkdir tree
    mkfifo tree/fifo
    echo x >tree/x
    holdfast create --quiet a.hf
    expect 0 holdfast import a.hf tree
    says fifo err
    [ "$(holdfast ls a.hf)" = x ]
    expect 0 holdfast import --json --replace a.hf tree/fifo /dev/null tree
    [ "$(json_number special_left_out out)" = 3 ]
}

test_a_symbolic_link_as_operand_is_followed() {
    mkdir tree
    echo x >tree/x
    ln -s tree link
    ln -s tree/x linked-file
    holdfast create --quiet a.hf
    expect 0 holdfast import a.hf link linked-file
    [ "$(holdfast ls a.hf | tr '\n' ' ')" = "linked-file x " ]
    [ "$(holdfast get a.hf linked-file)" = x ]
}

test_too_long_names_are_refused() {
    mkdir tree
    echo x >tree/x
    holdfast create --quiet a.hf
    expect 2 holdfast import a.hf tree --prefix "$(printf '%04095d' 0)"
    says "too long" err
    expect 0 holdfast import a.hf tree --prefix "$(printf '%04094d' 0)"
}

test_unreadable_files_stop_the_import_or_are_left_out() {
    user=""
    if [ "$(id -u)" = 0 ]; then
        # The command must be where another user can reach it.
        user="setpriv --reuid=65534 --regid=65534 --clear-groups"
        place=$(mktemp -d /tmp/hf-test.XXXXXX)
        trap 'rm -rf "$place"' EXIT
        chmod 755 "$place"
        cp "$HF_COMMAND" "$place/holdfast"
        mkdir "$place/tree"
        cd "$place" || die "$place"
        chmod 777 .
        $user ./holdfast --version >/dev/null 2>&1 || skip "cannot become another user"
        HF_COMMAND=$place/holdfast
    else
        mkdir tree
    fi
    echo x >tree/a
    echo x >tree/secret
    chmod 000 tree/secret
    mkdir tree/closed
    chmod 000 tree/closed
    $user "$HF_COMMAND" create --quiet a.hf
    expect 3 $user "$HF_COMMAND" import a.hf tree
    says "Permission denied" err
    [ -z "$(holdfast ls a.hf)" ] || die "something was imported"
    expect 1 $user "$HF_COMMAND" import --keep-going a.hf tree
    says secret err
    says closed err
    [ "$(holdfast ls a.hf)" = a ] || die "$(holdfast ls a.hf)"
    chmod 755 tree/closed
}

test_export_never_leaves_its_directory() {
    holdfast create --quiet a.hf
    mkdir outside
    for name in /tmp/hf-escaped ../escaped a/../../escaped . .. a/. a//b /x x/ ./y; do
        holdfast put --quiet --value bad -- a.hf "$name"
    done
    holdfast put --quiet a.hf good/name --value good
    expect 1 holdfast export a.hf out.d
    says "cannot be a file below the directory" err
    [ "$(find out.d -type f)" = out.d/good/name ] || die "$(find out.d)"
    [ ! -e escaped ] && [ ! -e /tmp/hf-escaped ]
    [ "$(wc -l <err)" = 10 ] || die "$(cat err)"
}

test_export_follows_no_link_that_the_store_makes() {
    mkdir tree outside
    ln -s ../outside tree/x
    holdfast create --quiet a.hf
    holdfast import --quiet a.hf tree
    holdfast put --quiet a.hf x/stolen --value bad
    expect 1 holdfast export a.hf out.d
    says "x/stolen: " err
    [ -z "$(ls outside)" ] || die "written through a symbolic link"
    # Nor one that is there already, even with --force.
    holdfast rm --quiet a.hf x
    rm -rf out.d
    mkdir out.d
    ln -s ../outside out.d/x
    expect 1 holdfast export --force a.hf out.d
    [ -z "$(ls outside)" ] || die "written through a symbolic link"
    rm out.d/x
    ln -s ../outside/victim out.d/y
    echo kept >outside/victim
    holdfast put --quiet a.hf y --value new
    expect 0 holdfast export --force a.hf out.d
    [ "$(cat outside/victim)" = kept ] || die "overwritten through a symbolic link"
    [ "$(cat out.d/y)" = new ]
}

# What no file can be is named, and all else is exported, in whatever order the index has them.
test_export_leaves_out_only_what_cannot_be_a_file() {
    long=$(printf '%0300d' 0)
    for index in set hash flat; do
        holdfast create --quiet --index $index a.hf
        for name in 0 "$long" "d/$long" "$long/x" a a/b c/d c e e/f g/h g z; do
            holdfast put --quiet --value "of $name" a.hf "$name"
        done
        for force in "" --force; do
            # shellcheck disable=SC2086
            expect 1 holdfast export $force a.hf out.d
            [ "$(grep -c "left out" err)" = 7 ] || die "$index: $(cat err)"
            says "7 left out" out
            (cd out.d && find . -type f) | sed 's,^\./,,' >files
            [ "$(wc -l <files)" = 6 ] || die "$index: $(cat files)"
            while read -r name; do
                [ "$(cat "out.d/$name")" = "of $name" ] || die "$index: $name"
            done <files
            for pair in a:a/b c:c/d e:e/f g:g/h; do
                [ -f "out.d/${pair%:*}" ] || [ -f "out.d/${pair#*:}" ] || die "$index: $pair"
            done
        done
        expect 1 holdfast export --json --force a.hf out.d
        is_json out
        says '"left_out": 7' out
        rm -rf a.hf out.d
    done
}

test_export_overwrites_only_with_force() {
    make_tree tree
    holdfast import --create --quiet a.hf tree
    mkdir out.d
    echo mine >out.d/plain
    expect 9 holdfast export a.hf out.d
    says plain err
    [ "$(cat out.d/plain)" = mine ] || die "overwritten"
    expect 0 holdfast export --force a.hf out.d
    same tree out.d
    expect 0 holdfast export --force a.hf out.d
    same tree out.d
    rm -rf out.d/plain
    mkdir out.d/plain
    for force in "" --force; do
        rm -rf out2
        cp -a out.d out2
        [ -n "$force" ] || find out2 ! -type d -delete
        # shellcheck disable=SC2086
        expect 1 holdfast export $force a.hf out2
        says "plain: " err
        [ "$(wc -l <err)" = 1 ] || die "$(cat err)"
        [ -d out2/plain ]
        rmdir out2/plain
        cp -p tree/plain out2/plain
        same tree out2
    done
    expect 3 holdfast export a.hf missing/out
    : >file
    expect 3 holdfast export a.hf file
}

test_a_growing_file_is_stored_whole_or_not() {
    mkdir tree
    holdfast create --quiet a.hf
    : >tree/log
    (while echo line; do sleep 0.002; done >>tree/log) &
    writer=$!
    trap 'kill $writer 2>/dev/null || true' EXIT # it would go on for ever
    for i in 1 2 3 4 5; do
        code=0
        holdfast import --replace --quiet a.hf tree 2>err || code=$?
        [ "$code" = 0 ] || [ "$code" = 7 ] || die "$code: $(cat err)"
        [ "$code" != 7 ] || says "changes while it is read" err
    done
    kill $writer
    wait $writer 2>/dev/null || true
    expect 0 holdfast fsck --quiet a.hf
    if holdfast get a.hf log >stored; then
        head -c "$(stat -c %s stored)" tree/log | cmp - stored
    fi
}

test_export_tells_of_errors_that_come_late() {
    mkdir tree
    echo x >tree/a
    holdfast import --create --quiet a.hf tree
    expect 7 failing close export a.hf one
    expect 7 failing syncfs export a.hf two
    says two err
    expect 0 holdfast export a.hf three
    same tree three
}

run_tests test_a_tree_comes_back_byte_for_byte test_every_index_and_allocator_carries_a_tree \
    test_prefixes_go_on_and_come_off test_import_is_all_or_nothing test_batches_commit_as_they_go \
    test_special_files_are_left_out_with_a_remark test_a_symbolic_link_as_operand_is_followed \
    test_too_long_names_are_refused test_unreadable_files_stop_the_import_or_are_left_out \
    test_export_never_leaves_its_directory test_export_follows_no_link_that_the_store_makes \
    test_export_leaves_out_only_what_cannot_be_a_file test_export_overwrites_only_with_force \
    test_a_growing_file_is_stored_whole_or_not \
    test_export_tells_of_errors_that_come_late
