#!/bin/sh
# What it does not know is an error with a name, not an empty answer.
set -eux
if hostinfo colour; then exit 1; fi
hostinfo colour 2>&1 | grep -q "unknown fact 'colour'"
