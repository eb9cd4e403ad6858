#!/bin/bash
# usage: testdata/bpf/generate.sh TOOLS
#
# Makes the light skeletons of this folder with the two bpftools that test/bpf/tools.sh has
# fetched to TOOLS: of the gate's program and of the reader's example, for both schemes,
# signed with rsa2048; of the example also with rsa4096, which is what bpf sign has to make
# of the former. bpftool makes the same bytes of the same object. Those of the programs here
# have all that bpftool writes: kinds.bpf.c every kind of variable, map and attachment,
# percpu.bpf.c what only Linux 7.3 has, plain.bpf.c neither maps nor BTF. *-7.7*.lskel.h are of
# bpftool 7.7.0, built from its public repository (libbpf/bpftool, v7.7.0), since Debian has
# none any more: BPFTOOL_7_7 names it.
set -euo pipefail
[ $# = 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
tools=$(realpath "$1")
cd "$(dirname "$0")"
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
clang -O2 -g -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c kinds.bpf.c -o "$objects/kinds.o"
clang -O2 -g -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c percpu.bpf.c -o "$objects/percpu.o"
clang -O2 -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c plain.bpf.c -o "$objects/plain.o"

# skeleton SERIES OBJECT NAME KEY FILE
skeleton() {
	local bpftool=$tools/$1/bin/bpftool
	[ "$1" != 7.7 ] || bpftool=$BPFTOOL_7_7
	"$bpftool" gen skeleton -L -S -k "../keys/$4.key" -i "../keys/$4.x509" "$2" name "$3" >"$5"
}
for series in 6.18 7.3; do
	skeleton $series ../../gate/program_bpfel.o gate rsa2048 gate-$series.lskel.h
	skeleton $series ../../gate/reader/example/allowlist_bpfel.o allowlist rsa4096 allowlist-$series-rsa4096.lskel.h
done
for series in ${BPFTOOL_7_7:+7.7} 6.18 7.3; do
	skeleton "$series" ../../gate/reader/example/allowlist_bpfel.o allowlist rsa2048 "allowlist-$series-rsa2048.lskel.h"
	skeleton "$series" "$objects/kinds.o" my_kinds rsa2048 "kinds-$series.lskel.h"
	skeleton "$series" "$objects/plain.o" plain rsa2048 "plain-$series.lskel.h"
done
skeleton 7.3 "$objects/percpu.o" percpu rsa2048 percpu-7.3.lskel.h
"$tools/7.3/bin/bpftool" gen skeleton -L ../../gate/reader/example/allowlist_bpfel.o name allowlist >allowlist-unsigned.lskel.h
