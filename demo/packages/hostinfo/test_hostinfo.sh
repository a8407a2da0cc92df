#!/bin/sh
# Unit tests of hostinfo, for %check: test_hostinfo.sh PROGRAM. The host is a folder made here.
set -u
program=$1
HOSTINFO_ROOT=$(mktemp -d)
export HOSTINFO_ROOT
trap 'rm -rf "$HOSTINFO_ROOT"' EXIT
mkdir -p "$HOSTINFO_ROOT/etc" "$HOSTINFO_ROOT/proc/sys/kernel"
printf 'NAME="Some OS"\nID=someos\nVERSION_ID="26"\n' >"$HOSTINFO_ROOT/etc/os-release"
echo 'MemTotal:        2048 kB' >"$HOSTINFO_ROOT/proc/meminfo"
echo '6.1.0-test' >"$HOSTINFO_ROOT/proc/sys/kernel/osrelease"
echo 'quiet root=/dev/vda ostree=/ostree/boot.1/someos/abc/0 rw' >"$HOSTINFO_ROOT/proc/cmdline"
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

expect someos "$program" os
expect 26 "$program" os_version
expect 6.1.0-test "$program" kernel
expect 2048 "$program" memory_kb
expect /ostree/boot.1/someos/abc/0 "$program" deployment
expect "hostinfo: unknown option --loud (see hostinfo --help)" "$program" --loud
expect "hostinfo: unknown fact 'colour' (known: os os_version kernel memory_kb deployment)" "$program" colour

echo 'quiet root=/dev/vda' >"$HOSTINFO_ROOT/proc/cmdline"
expect "" "$program" deployment

[ "$failures" -eq 0 ] || { echo "$failures unit tests of hostinfo failed"; exit 1; }
