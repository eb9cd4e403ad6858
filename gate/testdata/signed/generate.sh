#!/bin/bash
# usage: generate.sh BPFTOOL
#
# Makes flows.lskel.h: the light skeleton of flows.bpf.c, signed by testdata/keys/rsa2048
# as Linux 7.3 wants it. bpftool must be 7.3's too: Debian's package 7.8.0+7.3.
set -euo pipefail
cd "$(dirname "$0")"
keys=../../../testdata/keys

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
clang -target bpfel -O2 -g -mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu -c flows.bpf.c -o "$tmp/flows.o"
"$1" gen skeleton -L -S -k "$keys/rsa2048.key" -i "$keys/rsa2048.x509" "$tmp/flows.o" name flows >"$tmp/flows.lskel.h"
mv "$tmp/flows.lskel.h" .
