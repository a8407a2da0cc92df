#!/bin/sh
# Every language that the installed data lists can be spoken, and no other.
set -eux
test -n "$(greeter --list)"
for code in $(greeter --list); do
    greeter --language "$code" >/dev/null
done
if greeter --language xx; then exit 1; fi
