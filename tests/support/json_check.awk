# SPDX-License-Identifier: MIT
# json_check.awk - exits 0 if the input is one JSON document (RFC 8259), 1 if not
#
# A recursive descent over the text, for tests on machines without any JSON tool. The text is taken
# as bytes (LC_ALL=C); whether it is UTF-8 is checked by others.

function fail(what) {
    print "not JSON: " what " at byte " at ": " substr(text, at, 30)
    bad = 1
    exit 1
}
function blanks() {
    while (substr(text, at, 1) ~ /^[ \t\n\r]$/)
        at++
}
function word(expected) {
    if (substr(text, at, length(expected)) != expected)
        fail(expected " expected")
    at += length(expected)
}
function string(    c) {
    word("\"")
    while ((c = substr(text, at, 1)) != "\"") {
        if (c == "")
            fail("string without end")
        if (c ~ /^[\001-\037]$/)
            fail("control character")
        if (c == "\\") {
            c = substr(text, ++at, 1)
            if (c == "u") {
                if (substr(text, at + 1, 4) !~ /^[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]$/)
                    fail("\\u")
                at += 4
            } else if (index("\"\\/bfnrt", c) == 0 || c == "") {
                fail("escape")
            }
        }
        at++
    }
    at++
}
function number(    rest) {
    rest = substr(text, at, 64)
    if (!match(rest, /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/))
        fail("value expected")
    at += RLENGTH
}
function container(is_object, last,    c) {
    at++
    blanks()
    if (substr(text, at, 1) == last) {
        at++
        return
    }
    for (;;) {
        if (is_object) {
            blanks()
            string()
            blanks()
            word(":")
        }
        value()
        c = substr(text, at++, 1)
        if (c == last)
            return
        if (c != ",") {
            at--
            fail("comma or " last " expected")
        }
    }
}
function value(    c) {
    blanks()
    c = substr(text, at, 1)
    if (c == "{")
        container(1, "}")
    else if (c == "[")
        container(0, "]")
    else if (c == "\"")
        string()
    else if (c == "t")
        word("true")
    else if (c == "f")
        word("false")
    else if (c == "n")
        word("null")
    else
        number()
    blanks()
}
{ text = text $0 "\n" }
END {
    if (!bad) {
        at = 1
        value()
        if (at <= length(text))
            fail("something after the document")
    }
}
