#!/bin/sh
# The facts of this machine are those that uname and /proc give.
set -eux
test "$(hostinfo kernel)" = "$(uname -r)"
test "$(hostinfo memory_kb)" -gt 0
hostinfo | grep -c = | grep -qx 5
