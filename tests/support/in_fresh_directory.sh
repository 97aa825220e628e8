#!/bin/sh
# SPDX-License-Identifier: MIT
# in_fresh_directory.sh DIRECTORY COMMAND... - empties DIRECTORY and runs COMMAND in it
set -eu
directory=$1
shift
case $directory in
*/run/?*) ;;
*) echo "refusing to empty $directory: not below a run/ directory" >&2; exit 2 ;;
esac
rm -rf -- "$directory"
mkdir -p -- "$directory"
cd -- "$directory"
exec "$@"
