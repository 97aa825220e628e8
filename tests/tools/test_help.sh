# SPDX-License-Identifier: MIT
# test_help.sh - what the command says about itself, and that manual and completions say the same
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

commands="create put get ls rm import export stat fsck grow shrink trim compact readers log archive restore snapshot verify dump load salvage"

# Options as --help lists them.
options_of() {
    holdfast "$1" --help | sed -n 's/^  [ -][a-z0-9 ],\{0,1\} --\([a-z-]*\).*/\1/p'
}

test_help_is_complete() {
    for command in $commands; do
        expect 0 holdfast "$command" --help
        for part in "Usage: holdfast $command " Options: "Exit codes:" Example: "  -j, --json"; do
            says "$part" out
        done
        [ ! -s err ] || die "help on standard error"
        cp out help
        expect 0 holdfast help "$command"
        cmp out help
    done
    expect 0 holdfast --help
    for command in $commands; do
        says "  $command " out
    done
    expect 0 holdfast --version
    says "holdfast " out
}

test_help_names_its_real_exit_codes() {
    expect 0 holdfast ls --help
    for code in 0 1 2 3 4 5 6 7 8 9 10; do
        grep -q "^ *$code  " out || die "$code is missing"
    done
    expect 0 holdfast fsck --help
    for code in 0 1 4 8 16 32; do
        grep -q "^ *$code  " out || die "$code is missing"
    done
}

test_every_option_is_in_the_manual_and_the_completions() {
    for command in $commands; do
        page=$HF_SOURCE_DIR/man/holdfast-$command.1
        [ -f "$page" ] || die "$page is missing"
        options=$(options_of "$command")
        [ "$(echo "$options" | wc -l)" -ge 3 ] || die "$command: options not understood"
        for option in $options; do
            sed 's/\\-/-/g' "$page" | grep -qF -e "--$option" || die "--$option is not in $page"
            grep "^    $command) options=" "$HF_SOURCE_DIR/completions/holdfast.bash" |
                grep -qF -e "--$option" || die "--$option is not in holdfast.bash"
            awk -v c="    $command)" '$0 == c { on = 1 } on { print } on && /;;/ { exit }' \
                "$HF_SOURCE_DIR/completions/_holdfast" |
                grep -qF -e "--$option" || die "--$option is not in _holdfast"
            grep -F "from $command\"" "$HF_SOURCE_DIR/completions/holdfast.fish" |
                grep -qF -e "-l $option " || die "--$option is not in holdfast.fish"
        done
    done
}

# What bash offers behind these words, in a directory that has one file.
offered_behind() {
    mkdir -p files
    : >files/a.hf
    bash -c 'cd files && . "$0"; COMP_WORDS=(holdfast "$@" ""); COMP_CWORD=$(($# + 1)); _holdfast
        printf "%s\n" "${COMPREPLY[@]}"' "$HF_SOURCE_DIR/completions/holdfast.bash" "$@"
}

test_bash_offers_the_same_values_behind_short_options() {
    command -v bash >/dev/null || skip "no bash"
    for command in $commands; do
        holdfast "$command" --help |
            sed -n 's/^  -\([a-z]\), --\([a-z-]*\) [A-Z].*/\1 \2/p' >options
        while read -r short long; do
            offered_behind "$command" "--$long" >behind.long
            offered_behind "$command" "-$short" >behind.short
            cmp behind.long behind.short || die "$command -$short is not as --$long"
        done <options
    done
    [ "$(offered_behind load -e | tr '\n' ' ')" = "error keep replace " ]
    [ "$(offered_behind create -m | tr '\n' ' ')" = "$(offered_behind create | tr '\n' ' ')" ]
}

# Every function of the public headers, none besides.
test_the_manual_lists_the_whole_api() {
    sed -n 's/^HF_API .*[ *]\(hf_[a-z_0-9]*\)(.*/\1/p; s/^static inline .*[ *]\(hf_[a-z_]*\)(.*/\1/p
        s/^#define \(hf_[a-z_]*\)(.*/\1/p' \
        "$HF_SOURCE_DIR"/include/holdfast/*.h | sort -u >declared
    sed -n 's/^\(hf_[a-z_]*\)\t.*/\1/p' "$HF_SOURCE_DIR/man/holdfast.3" | sort -u >listed
    [ "$(wc -l <declared)" -gt 50 ] || die "the headers were not understood"
    diff declared listed || die "holdfast.3 and the headers differ"
}

test_usage_errors_are_2_and_16_for_fsck() {
    expect 2 holdfast
    expect 2 holdfast frobnicate
    says "there is no command \"frobnicate\"" err
    expect 2 holdfast help frobnicate
    for command in $commands; do
        code=2
        [ "$command" != fsck ] || code=16
        expect $code holdfast "$command"
        says "Usage: holdfast $command" err
        expect $code holdfast "$command" --no-such-option x y
        says "--no-such-option" err
        expect $code holdfast "$command" -Z x y
        says "-Z" err
    done
    expect 2 holdfast stat a b
    expect 2 holdfast ls a b c
    expect 2 holdfast stat --wait soon x
    expect 2 holdfast stat --wait
    expect 2 holdfast stat --json=yes x
    expect 2 holdfast put x y z --value v
    expect 2 holdfast rm x
    expect 2 holdfast import --batch 0 x y
    expect 16 holdfast fsck --findings-max many x
}

test_usage_errors_name_the_option() {
    refused() { # MESSAGE OPTION...
        refused_says=$1
        shift
        expect 2 holdfast stat "$@"
        [ "$(head -n 1 err)" = "holdfast stat: $refused_says" ] || die "$(cat err)"
    }
    refused "-Z is no option here" -Z x
    refused "-Z is no option here" --json -Zq x
    refused "-Z is no option here" --json -qZ x
    refused "-Z is no option here" --quiet -qZq x
    refused "-Z is no option here" x --json -ZZ
    refused "-: is no option here" --json -:q x
    refused "--colour=red is no option here" -q x --colour=red
    refused "--json=yes takes no argument" -q --json=yes x
    refused "--brief=1 takes no argument" --brief=1 x
    refused "--wait needs an argument" x --wait
    refused "-w needs an argument" x --json -qw
    refused "-w needs an argument" x -w
}

test_usage_errors_are_json_with_json() {
    expect 2 holdfast stat --json
    is_json out
    says '"exit_code": 2' out
}

test_called_as_fsck_it_is_fsck() {
    ln -s "$HF_COMMAND" fsck.holdfast
    holdfast create --quiet a.hf
    expect 0 ./fsck.holdfast a.hf
    says "a.hf: clean" out
    expect 0 ./fsck.holdfast -a -f a.hf
    expect 16 ./fsck.holdfast
    expect 8 ./fsck.holdfast missing.hf
}

test_the_json_checker_refuses_what_is_no_json() {
    for text in '' '{' '{"a" 1}' '{"a":1,}' '[1 2]' '"a' '"\x"' '{"a":1}x' '01' 'tru' '"\u12g4"'; do
        printf '%s\n' "$text" >bad
        if awk -f "$HF_SOURCE_DIR/tests/support/json_check.awk" bad >/dev/null; then
            die "accepted: $text"
        fi
    done
    printf '%s\n' '{"a": [1, -2.5e3, true, null, {"b": "\u00ff\n"}], "c": {}, "d": []}' >good
    is_json good
}

run_tests test_help_is_complete test_help_names_its_real_exit_codes \
    test_every_option_is_in_the_manual_and_the_completions \
    test_bash_offers_the_same_values_behind_short_options test_the_manual_lists_the_whole_api \
    test_usage_errors_are_2_and_16_for_fsck \
    test_usage_errors_name_the_option test_usage_errors_are_json_with_json \
    test_called_as_fsck_it_is_fsck test_the_json_checker_refuses_what_is_no_json
