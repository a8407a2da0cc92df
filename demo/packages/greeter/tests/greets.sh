#!/bin/sh
# The installed program greets, by name and without.
set -eux
test "$(greeter)" = "Hello, world!"
test "$(greeter --language de Ada)" = "Hallo, Ada!"
