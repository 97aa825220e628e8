#!/bin/sh
# SPDX-License-Identifier: MIT
# check_text.sh ROOT - what every file owes its reader
#
#   - each source and header begins with the SPDX line
#   - no file names a place on the machine it was written on
#   - relative links in *.md lead to a file
set -eu
cd "$1"
code=0

# Build trees and git's own files are not the project's.
every_file() {
    find . \( -path ./.git -o -path ./build \) -prune -o -type f "$@" -print
}

for file in $(every_file \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.hpp' \)); do
    if [ "$(sed 1q "$file")" != "/* SPDX-License-Identifier: MIT */" ]; then
        echo "$file: the first line is not the SPDX line"
        code=1
    fi
done

# The patterns are put together here so that this file doesn't hold what it looks for.
slash=/
places="(^|[^A-Za-z0-9_.-])${slash}(work|root|home)${slash}[A-Za-z]|${slash}tmp${slash}(build|h${slash})"
if every_file | xargs grep -nIE -e "$places" -e "shared${slash}(DESIGN|STYLE|PEERS)"; then
    echo "files name places on one machine"
    code=1
fi

for page in $(every_file -name '*.md'); do
    folder=$(dirname "$page")
    links=$(awk '/^```/ { code = !code } !code' "$page" |
        grep -oE '\]\([^)# ]+' | sed 's/^](//' | grep -vE '^(https?|mailto):' || true)
    for link in $links; do
        if [ ! -e "$folder/$link" ]; then
            echo "$page: the link to $link leads nowhere"
            code=1
        fi
    done
done
exit $code
