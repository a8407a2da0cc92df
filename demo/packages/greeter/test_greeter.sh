#!/bin/sh
# Unit tests of greeter, for %check: test_greeter.sh PROGRAM DATA_FOLDER
set -u
program=$1
GREETER_DATA=$2
export GREETER_DATA
failures=0

expect() {
    wanted=$1
    shift
    got=$("$@" 2>&1)
    if [ "$got" = "$wanted" ]; then
        echo "ok: $*"
    else
        echo "FAILED: $*: expected '$wanted', got '$got'"
        failures=$((failures + 1))
    fi
}

expect "Hello, world!" "$program"
expect "Hello, Ada!" "$program" Ada
expect "Bonjour, Ada!" "$program" --language fr Ada
expect "Hello, --list!" "$program" -- --list
expect "greeter: no greeting for language 'xx' (see greeter --list)" "$program" --language xx
expect "greeter: unknown option --loud (see greeter --help)" "$program" --loud
expect "greeter: one name at a time" "$program" Ada Grace
expect "$(cut -d' ' -f1 "$GREETER_DATA/greetings")" "$program" --list

[ "$failures" -eq 0 ] || { echo "$failures unit tests of greeter failed"; exit 1; }
