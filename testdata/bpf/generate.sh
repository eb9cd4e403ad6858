#!/bin/bash
# usage: testdata/bpf/generate.sh TOOLS
#
# Makes the light skeletons of this folder with the two bpftools that test/bpf/tools.sh has
# fetched to TOOLS: of the gate's program and of the reader's example, for both schemes,
# signed with rsa2048; of the example also with rsa4096, which is what bpf sign has to make
# of the former. bpftool makes the same bytes of the same object. allowlist-7.7-rsa2048.lskel.h is
# of bpftool 7.7.0, built from its public repository (libbpf/bpftool, v7.7.0), since Debian has
# none any more: BPFTOOL_7_7 names it.
set -euo pipefail
[ $# = 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
tools=$(realpath "$1")
cd "$(dirname "$0")"

# skeleton SERIES OBJECT NAME KEY FILE
skeleton() {
	"$tools/$1/bin/bpftool" gen skeleton -L -S -k "../keys/$4.key" -i "../keys/$4.x509" "$2" name "$3" >"$5"
}
for series in 6.18 7.3; do
	skeleton $series ../../gate/program_bpfel.o gate rsa2048 gate-$series.lskel.h
	for key in rsa2048 rsa4096; do
		skeleton $series ../../gate/reader/example/allowlist_bpfel.o allowlist $key allowlist-$series-$key.lskel.h
	done
done
[ -z "${BPFTOOL_7_7:-}" ] || "$BPFTOOL_7_7" gen skeleton -L -S -k ../keys/rsa2048.key -i ../keys/rsa2048.x509 \
	../../gate/reader/example/allowlist_bpfel.o name allowlist >allowlist-7.7-rsa2048.lskel.h
"$tools/7.3/bin/bpftool" gen skeleton -L ../../gate/reader/example/allowlist_bpfel.o name allowlist >allowlist-unsigned.lskel.h
