# SPDX-License-Identifier: MIT
# test_dump.sh - dump and load from the shell: the form as documented, options, errors, exit codes
. "$HF_SOURCE_DIR/tests/support/shell_test.sh"

golden=$HF_SOURCE_DIR/tests/tools/golden.dump

# The form is fixed: a dump written by hand is loaded, and dumped as it was.
test_a_dump_by_hand_comes_back_the_same() {
    expect 0 holdfast load a.hf "$golden"
    expect 0 holdfast fsck --quiet --no-pointers a.hf
    expect 0 holdfast dump a.hf
    cmp out "$golden" || { diff out "$golden" | head -n 20; die "another dump"; }
    [ "$(holdfast get a.hf plain)" = "plain bytes" ]
    [ "$(holdfast ls a.hf | wc -l)" = 4 ]
    expect 0 holdfast stat --json a.hf
    says '"layout": "org.example.golden"' out
    says '"layout_version": 3' out
}

test_what_is_left_out_is_zero_or_null() {
    cat >short.dump <<'X'
{"holdfast-dump":1}
{"type":1,"name":"t","version":1,"size":32,"fields":[{"offset":0,"kind":"ptr","key":"p"},{"offset":8,"kind":"ref","key":"r"},{"offset":16,"kind":"u8","times":4,"key":"n"}]}

{"object":900,"kind":"named","name":"x","type":1,"count":3,"elements":[{},{"n":[7]},{"r":{"ref":5}}]}
{"object":5,"kind":"raw","count":16}
{"end":true}
X
    expect 0 holdfast load --quiet a.hf short.dump
    expect 0 holdfast dump --quiet a.hf
    says '"elements":[{"#0":null,"#1":null,"#2":[0,0,0,0]},{"#0":null,"#1":null,"#2":[7,0,0,0]},{"#0":null,"#1":{"ref":2},"#2":[0,0,0,0]}]' out
}

test_other_engines_allocators_and_indexes() {
    expect 0 holdfast load --engine direct --allocator best_fit --index hash --max-size 1G a.hf "$golden"
    expect 0 holdfast stat --json a.hf
    says '"engine": "direct"' out
    says '"allocator": "best_fit"' out
    says '"index": "hash"' out
    holdfast dump a.hf | tail -n +2 >a.dump
    tail -n +2 "$golden" | cmp - a.dump
    expect 0 holdfast load --json b.hf "$golden"
    is_json out
    [ "$(json_number named out)" = 4 ] || die "$(cat out)"
    holdfast dump a.hf | holdfast load --quiet c.hf -
    expect 0 holdfast fsck --quiet --no-pointers c.hf
    # No names, no index.
    holdfast create --quiet --index null n.hf
    holdfast dump n.hf | holdfast load --quiet m.hf
    expect 0 holdfast stat --json m.hf
    says '"index": "null"' out
    expect 8 holdfast load --index null o.hf "$golden"
    [ ! -e o.hf ]
}

test_one_object_with_its_fields() {
    holdfast load --quiet a.hf "$golden"
    expect 0 holdfast dump --json a.hf lists/main
    is_json out
    says '"name":"lists/main"' out
    says '"head":{"ref":2},"length":"18446744073709551615"' out
    ! grep -q '"object":2' out || die "more than was asked for"
    ! grep -q '"name":"numbers"' out || die "types that it doesn't have"
    expect 0 holdfast dump --pretty a.hf lists/main
    says "lists/main (#1): type list version 1" out
    says "head    -> #2 (node)" out
    says "length  \"18446744073709551615\"" out
    expect 1 holdfast dump a.hf lists/none
    expect 2 holdfast dump --pretty --json a.hf
    expect 0 holdfast dump --json a.hf
    is_json out
    # As lines: with what it refers to, so that it can be loaded.
    holdfast dump a.hf lists/main >one.dump
    [ "$(grep -c '^{"object"' one.dump)" = 3 ] || die "$(cat one.dump)"
    holdfast load --quiet b.hf one.dump
    [ "$(holdfast ls b.hf)" = lists/main ]
    holdfast dump --prefix p a.hf | holdfast load --quiet c.hf
    [ "$(holdfast ls c.hf)" = plain ]
    holdfast dump --no-bytes a.hf >looks.dump
    ! grep -q '"bytes":"' looks.dump || die "bytes are in it"
    expect 4 holdfast load d.hf looks.dump
    says "--no-bytes" err
}

test_large_objects_take_several_lines() {
    head -c 3000000 /dev/urandom >random
    { cat random; head -c 5000000 /dev/zero; cat random; } >value
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf big value
    holdfast dump a.hf >a.dump
    [ "$(wc -l <a.dump)" -gt 20 ]
    [ "$(wc -L <a.dump)" -lt 300000 ] || die "a line of $(wc -L <a.dump)"
    [ "$(wc -c <a.dump)" -lt 8500000 ] || die "zeros are in it"
    holdfast load --quiet b.hf a.dump
    holdfast get b.hf big | cmp - value
    # Elements, too: 100,000 of them.
    awk 'BEGIN {
        print "{\"holdfast-dump\":1}"
        print "{\"type\":1,\"name\":\"n\",\"version\":1,\"size\":8,\"fields\":[{\"offset\":0,\"kind\":\"u64\",\"key\":\"v\"}]}"
        printf "{\"object\":1,\"kind\":\"named\",\"name\":\"many\",\"type\":1,\"count\":100000,\"elements\":["
        for (i = 0; i < 50000; i++) printf "%s{\"v\":%d}", i ? "," : "", i
        printf "]}\n{\"object\":1,\"at\":50000,\"elements\":["
        for (i = 50000; i < 100000; i++) printf "%s{\"v\":%d}", (i > 50000) ? "," : "", i
        print "]}\n{\"end\":true}" }' >many.dump
    holdfast load --quiet c.hf many.dump
    holdfast dump c.hf >again.dump
    [ "$(grep -c '^{"object":1,"at":' again.dump)" -ge 3 ] || die "one line"
    holdfast load --quiet d.hf again.dump
    holdfast dump d.hf | cmp - again.dump
    says '{"#0":99999}]}' again.dump
}

test_errors_name_the_place() {
    head='{"holdfast-dump":1}'
    type='{"type":1,"name":"t","version":1,"size":16,"fields":[{"offset":0,"kind":"u8","times":3,"key":"n"},{"offset":8,"kind":"ref","key":"r"}]}'
    object='{"object":1,"kind":"named","name":"x","type":1,"count":2'
    wrong() { # MESSAGE LINE...
        wrong_says=$1
        shift
        printf '%s\n' "$head" "$type" "$@" '{"end":true}' >bad.dump
        expect 4 holdfast load a.hf bad.dump
        says "$wrong_says" err
        says "bad.dump: line " err
        says "nothing was loaded" err
        [ -z "$(find . -name 'a.hf*')" ] || die "left behind: $(find . -name 'a.hf*')"
    }
    wrong 'line 3: column 2' '{"object":1,"kind": named}'
    wrong "line 3: elements[1].n[2]: 256 is more than 255" "$object,\"elements\":[{},{\"n\":[1,2,256]}]}"
    wrong "line 3: elements[0].n: 4 entries, where 3 have room" "$object,\"elements\":[{\"n\":[1,2,3,4]}]}"
    wrong "line 3: elements[0]: type 't' has no field \"m\"" "$object,\"elements\":[{\"m\":1}]}"
    wrong "line 4: object 1 ended after 1 of 2 elements" "$object,\"elements\":[{}]}"
    wrong "line 3: 3 elements, of which 2 were left" "$object,\"elements\":[{},{},{}]}"
    wrong "line 3: refers to object 7, which is not in the dump" "$object,\"elements\":[{\"r\":{\"ref\":7}},{}]}"
    wrong "line 3: elements[1].r: byte 33 of object 1, which has only 32" "$object,\"elements\":[{},{\"r\":{\"ref\":1,\"offset\":33}}]}"
    wrong "line 4: the dump has this object twice" "$object,\"elements\":[{},{}]}" '{"object":2,"kind":"named","name":"x","count":0}'
    wrong "line 4: there is an object 1 already" "$object,\"elements\":[{},{}]}" '{"object":1,"kind":"raw","count":0}'
    wrong "line 4: types come before objects" "$object,\"elements\":[{},{}]}" "$type"
    wrong "line 3: there is no member \"colour\" in the form" "$object,\"colour\":1}"
    wrong "line 3: \"bytes\": one string of base64" '{"object":1,"bytes":"AAAA","kind":"raw","count":9,"bytes":"AAAA"}'
    wrong "line 3: \"bytes\": no base64 of at most 3 bytes" '{"object":1,"kind":"raw","count":3,"bytes":"AAA-"}'
    wrong "line 3: an object with fields has \"elements\"" "$object,\"bytes\":\"AAAA\"}"
    wrong "line 4: there is no member \"bytes\"" '{"object":1,"kind":"raw","count":3}' '{"end":true,"bytes":""}'
    wrong "line 3: \"count\" is missing" '{"object":1,"kind":"raw"}'
    wrong 'line 4: "raw" should be 2, but the dump has 1' '{"object":1,"kind":"raw","count":0}' '{"end":true,"raw":2}'
    wrong "line 3: types are numbered from 1 on; 2 is expected" "$type"
    wrong "'t' version 1 was registered differently" '{"type":2,"name":"t","version":1,"size":8}'
    wrong "field 0 of 'u' makes no sense" '{"type":2,"name":"u","version":1,"size":8,"fields":[{"offset":4,"kind":"u64","key":"x"}]}'
    printf '%s\n' "$head" "$type" >cut.dump
    expect 4 holdfast load a.hf cut.dump
    says "line 2: the dump ends here" err
    echo '{"holdfast-dump":2}' >new.dump
    expect 3 holdfast load a.hf new.dump
    expect 4 holdfast load a.hf "$HF_SOURCE_DIR/README.md"
    says "README.md: line 1: column 1: " err
    expect 3 holdfast load a.hf missing.dump
    expect 3 holdfast dump missing.hf
    expect 2 holdfast load --batch 5 a.hf "$golden"
    expect 2 holdfast load --into --engine log a.hf "$golden"
}

test_into_a_store_that_exists() {
    holdfast load --quiet a.hf "$golden"
    expect 9 holdfast load a.hf "$golden"
    holdfast create --quiet b.hf
    holdfast put --quiet b.hf plain --value mine
    holdfast put --quiet b.hf other --value other
    cp b.hf before
    expect 9 holdfast load --into b.hf "$golden"
    says "plain: exists already" err
    [ "$(holdfast ls b.hf | tr '\n' ' ')" = "other plain " ]
    expect 0 holdfast load --json --into --existing keep b.hf "$golden"
    [ "$(json_number kept out)" = 1 ] || die "$(cat out)"
    [ "$(holdfast get b.hf plain)" = mine ]
    [ "$(holdfast ls b.hf | wc -l)" = 5 ]
    expect 0 holdfast load --json --into --existing replace --batch 2 b.hf "$golden"
    [ "$(json_number replaced out)" = 5 ] || die "$(cat out)"
    [ "$(holdfast get b.hf plain)" = "plain bytes" ]
    [ "$(holdfast get b.hf other)" = other ]
    expect 0 holdfast fsck --quiet --no-pointers b.hf
    expect 3 holdfast load --into missing.hf "$golden"
}

# Whatever is done with what is there already: the first of them can't be taken back any more.
test_an_object_twice_in_a_dump() {
    cat >twice.dump <<'X'
{"holdfast-dump":1}
{"type":1,"name":"t","version":1,"size":16,"fields":[{"offset":0,"kind":"ref","key":"r"},{"offset":8,"kind":"u64","key":"n"}]}
{"object":1,"kind":"named","name":"x","type":1,"count":1,"elements":[{"r":{"ref":4},"n":1}]}
{"object":2,"kind":"named","name":"x","type":1,"count":2,"elements":[{},{}]}
{"object":3,"kind":"named","name":"y","type":1,"count":1,"elements":[{"r":{"ref":1},"n":7}]}
{"object":4,"kind":"named","name":"z","type":1,"count":1,"elements":[{"n":9}]}
{"end":true}
X
    for policy in error keep replace; do
        for batch in 1 2 100; do
            rm -f a.hf
            holdfast create --quiet --allocator best_fit a.hf
            expect 4 holdfast load --into --existing $policy --batch $batch a.hf twice.dump
            says "twice.dump: line 4: the dump has this object twice" err
            expect 0 holdfast fsck --quiet a.hf
        done
    done
    # Met in the store, and twice in the dump.
    rm a.hf
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x --value there
    for policy in keep replace; do
        expect 4 holdfast load --into --existing $policy a.hf twice.dump
        says "line 4: the dump has this object twice" err
        [ "$(holdfast get a.hf x)" = there ]
    done
}

# fill NUMBER: a load of batches of one object is told of fillers, until the job of that number is through.
fill() {
    while kill -0 "$1" 2>/dev/null; do
        filler=$((filler + 1))
        [ $filler -lt 50000 ] || die "nobody gets in between two batches"
        echo "{\"object\":$filler,\"kind\":\"named\",\"name\":\"f$filler\",\"count\":16,\"bytes\":\"QUFBQUFBQUFBQUFBQUFBQQ==\"}" >&9
    done
    wait "$1" || die "the other process failed"
}

# Between two batches others may destroy what was loaded, and something else comes to lie there.
test_batches_write_nothing_to_what_others_have_destroyed() {
    filler=1000
    mkfifo pipe
    for allocator in best_fit slab; do
        holdfast create --quiet --allocator $allocator a.hf
        "$HF_COMMAND" load --into --batch 1 a.hf pipe >out 2>err &
        loader=$!
        trap 'kill -KILL $loader 2>/dev/null || true' EXIT
        exec 9>pipe
        cat >&9 <<'X'
{"holdfast-dump":1}
{"type":1,"name":"t","version":1,"size":16,"fields":[{"offset":0,"kind":"ref","key":"r"},{"offset":8,"kind":"u64","key":"n"}]}
{"object":1,"kind":"named","name":"h1001","type":1,"count":1,"elements":[{"r":{"ref":5},"n":1}]}
{"object":2,"kind":"named","name":"t1001","type":1,"count":1,"elements":[{"n":2}]}
{"object":3,"kind":"named","name":"h1002","type":1,"count":1,"elements":[{"r":{"ref":5},"n":3}]}
X
        while ! holdfast ls a.hf | grep -q h1002; do sleep 0.01; done
        "$HF_COMMAND" rm --quiet --wait forever a.hf h1001 t1001 &
        remover=$!
        fill $remover
        last=$((filler + 8)) # these come to lie where there is room
        while [ $filler -lt $last ]; do
            filler=$((filler + 1))
            echo "{\"object\":$filler,\"kind\":\"named\",\"name\":\"f$filler\",\"count\":16,\"bytes\":\"QUFBQUFBQUFBQUFBQUFBQQ==\"}"
        done >&9
        cat >&9 <<'X'
{"object":5,"kind":"named","name":"t1002","type":1,"count":1,"elements":[{"r":{"ref":2},"n":6}]}
{"end":true}
X
        exec 9>&-
        wait $loader || die "$?: $(cat err)"
        says "1 pointers led nowhere and are null now" err
        [ "$(holdfast ls a.hf | grep -cv '^f')" = 2 ] || die "$(holdfast ls a.hf | grep -v '^f')"
        holdfast dump a.hf | grep '"name":"f' >fillers
        [ "$(grep -cv '"bytes":"QUFBQUFBQUFBQUFBQUFBQQ=="' fillers)" = 0 ] ||
            die "$allocator: $(grep -v '"bytes":"QUFBQUFBQUFBQUFBQUFBQQ=="' fillers)"
        expect 0 holdfast fsck a.hf
        rm a.hf
    done
}

test_a_killed_load_leaves_no_store() {
    head -c 20000000 /dev/urandom >value
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x value
    holdfast dump a.hf >a.dump
    mkfifo pipe
    "$HF_COMMAND" load --quiet b.hf pipe 2>err &
    loader=$!
    exec 9>pipe
    head -c 10000000 a.dump >&9
    kill -9 $loader
    wait $loader || true
    exec 9>&-
    [ ! -e b.hf ] || die "half a store has the name"
    [ -n "$(find . -name 'b.hf.new-*')" ] || die "it wasn't killed"
    # One that goes on isn't touched by those who remove what the dead left.
    mkfifo live
    "$HF_COMMAND" load --quiet b.hf live 2>err2 &
    loader=$!
    exec 8>live
    head -c 10000000 a.dump >&8
    sleep 0.2
    expect 0 holdfast create --quiet b.hf
    [ "$(find . -name 'b.hf.new-*' ! -name '*-l*' | wc -l)" = 1 ] ||
        die "$(find . -name 'b.hf.new-*')"
    rm b.hf
    tail -c +10000001 a.dump >&8
    exec 8>&-
    wait $loader || die "$(cat err2)"
    holdfast get b.hf x | cmp - value
    [ -z "$(find . -name 'b.hf.new-*')" ] || die "left behind: $(find . -name 'b.hf.new-*')"
}

test_an_interrupted_load_leaves_nothing() {
    mkfifo pipe
    # A background command of a shell ignores SIGINT, so SIGTERM.
    "$HF_COMMAND" load b.hf pipe 2>err &
    loader=$!
    exec 9>pipe
    head -n 3 "$golden" >&9
    for _ in $(seq 100); do
        [ -n "$(find . -name 'b.hf.new-*')" ] && break
        sleep 0.1
    done
    kill -TERM $loader
    code=0
    wait $loader || code=$?
    exec 9>&-
    [ "$code" = 10 ] || die "exit code $code: $(cat err)"
    says "nothing was loaded" err
    [ -z "$(find . -name 'b.hf*')" ] || die "left behind: $(find . -name 'b.hf*')"
}

# A dump is one moment, whatever is written meanwhile.
test_a_live_store() {
    holdfast load --quiet a.hf "$golden"
    (
        i=0
        while [ ! -e stop ]; do
            i=$((i + 1))
            printf '{"holdfast-dump":1}\n{"object":1,"kind":"named","name":"pair/1","count":9,"bytes":"%s"}\n{"object":2,"kind":"named","name":"pair/2","count":9,"bytes":"%s"}\n{"end":true}\n' \
                "$(printf '%09d' $i | base64)" "$(printf '%09d' $i | base64)" |
                holdfast load --quiet --into --existing replace a.hf || exit 1
        done
    ) &
    writer=$!
    for _ in 1 2 3 4 5 6 7 8; do
        holdfast dump --quiet --prefix pair/ a.hf >live.dump
        [ "$(sed -n 's/.*"name":"pair.*"bytes":"\(.*\)"}/\1/p' live.dump | sort -u | wc -l)" -le 1 ] ||
            die "two moments in one dump: $(cat live.dump)"
    done
    touch stop
    wait $writer || die "the writer failed"
    rm -f b.hf
    holdfast dump --quiet a.hf | holdfast load --quiet b.hf
    expect 0 holdfast fsck --quiet --no-pointers b.hf
}

test_load_says_what_is_there_when_the_last_sync_fails() {
    holdfast create --quiet a.hf
    holdfast put --quiet a.hf x --value kept
    holdfast dump a.hf >a.dump
    expect 7 failing directory load b.hf a.dump
    says "all of it was loaded" err
    [ "$(holdfast get b.hf x)" = kept ]
    for call in link rename; do
        expect 0 failing $call load $call.hf a.dump
        [ "$(holdfast get $call.hf x)" = kept ]
    done
    expect 3 failing links load c.hf a.dump
    says "nothing was loaded" err
    [ -z "$(find . -name 'c.hf*')" ] || die "left behind: $(find . -name 'c.hf*')"
}

run_tests test_a_dump_by_hand_comes_back_the_same test_what_is_left_out_is_zero_or_null \
    test_other_engines_allocators_and_indexes test_one_object_with_its_fields \
    test_large_objects_take_several_lines test_errors_name_the_place test_into_a_store_that_exists \
    test_an_object_twice_in_a_dump \
    test_batches_write_nothing_to_what_others_have_destroyed test_a_killed_load_leaves_no_store test_an_interrupted_load_leaves_nothing test_a_live_store \
    test_load_says_what_is_there_when_the_last_sync_fails
