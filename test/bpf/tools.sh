#!/bin/bash
# usage: test/bpf/tools.sh DIR
#
# Fetches what makes and compiles signed light skeletons of both schemes:
#
#   DIR/6.18/bin/bpftool   whose loader compares its map's digest
#   DIR/7.3/bin/bpftool    whose loader leaves that to the kernel
#   DIR/*/include          bpf/skel_internal.h of the same sources, and linux/bpf.h
#
# SIGN_FILE_BPF_TOOLS=DIR tells the tests of it. DIR appears when it is complete; one that
# is there already is left as it is. It takes some 170 MB from the mirror: Debian has no
# package of libbpf's headers as they are in Linux 7.3, only the source.
#
# The tests skip what there is nothing for.
set -euo pipefail
[ $# = 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[ ! -d "$1" ] || exit 0
tools=$(realpath "$(dirname "$0")/../../tools")
dir=$(realpath -m "$1")
new=$dir.new
rm -rf "$new"
trap 'rm -rf "$new"' EXIT
mkdir -p "$new"

libraries='libelf1t64 libssl3t64 libzstd1 zlib1g libc6'
# shellcheck disable=SC2086 # names of packages, one each
"$tools/debian-tools" --only "$new/6.18" sid bpftool libbpf-dev linux-libc-dev $libraries
# shellcheck disable=SC2086
"$tools/debian-tools" --only "$new/7.3" trixie,trixie-backports bpftool linux-source-7.3 $libraries

# headers SERIES SKELETON_HEADERS
headers() {
	local include=$new/$1/include
	mkdir -p "$include"
	cp -r "$new/6.18/root/usr/include/linux" "$new/6.18/root/usr/include/asm-generic" "$include"
	cp -r "$new/6.18/root/usr/include/x86_64-linux-gnu/asm" "$include"
	cp -r "$2" "$include/bpf"
}
headers 6.18 "$new/6.18/root/usr/include/bpf"
source=$new/7.3/root/usr/src/linux-source-7.3
tar -C "$new/7.3" -xf "$source.tar.xz" linux-source-7.3/tools/lib/bpf/skel_internal.h linux-source-7.3/tools/include/uapi/linux/bpf.h
headers 7.3 "$new/6.18/root/usr/include/bpf"
cp "$new/7.3/linux-source-7.3/tools/lib/bpf/skel_internal.h" "$new/7.3/include/bpf/"
cp "$new/7.3/linux-source-7.3/tools/include/uapi/linux/bpf.h" "$new/7.3/include/linux/"
rm -rf "$source.tar.xz" "$new"/*/*.deb "$new/7.3/linux-source-7.3"

# Debian sid's are those for 6.18 only as long as they are of sources before 7.3.
if grep -q 'fd_array_cnt = 1' "$new/6.18/include/bpf/skel_internal.h"; then
	echo "$0: no tools for 6.18: Debian sid's are for 7.3 by now" >&2
	rm -r "$new/6.18"
fi
mv "$new" "$dir"
