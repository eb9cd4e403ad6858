#!/bin/bash
# Fetch the stock Debian kernels that the tests boot.
#
#   fetch.sh [series...]            default: 6.1 6.12 6.18 7.3
#
# Each series becomes a directory of the cache with
#   vmlinuz   the kernel as packaged (UEFI boots it)
#   vmlinux   the ELF file inside it (QEMU boots it directly, 3 s sooner under TCG)
#   config    its configuration
#   release   its uname -r, version: its package version
#   *.ko      a few of its modules, decompressed, with the signature they were shipped with
#
# What is there already is left alone; remove a directory to have it made anew.
# 6.1 and 6.12 must be had, a failure with any other series is only reported.
#
# The cache, the mirror and the variables that name them: apt.sh.
set -euo pipefail
# shellcheck source=test/kernel/apt.sh
. "$(dirname "$0")/apt.sh"

required=' 6.1 6.12 '
# dummy is what the tests sign; the others are digests that some series have as modules only.
modules='dummy sha512_generic sha3_generic libsha3 sha3'

# newest SERIES prints "package version" of the series' newest kernel, of the
# small cloud flavour if there is one.
newest() {
	local series=${1//./\\.} flavour names
	for flavour in cloud-amd64 amd64; do
		names=$(apt_own apt-cache pkgnames "linux-image-$1" |
			grep -E "^linux-image-$series(\.[0-9]+)?([-+][0-9]+|[-+]deb[0-9.]+)?-$flavour\$") || continue
		# shellcheck disable=SC2086  # names are words
		apt_own apt-cache madison $names | awk '{ print $1, $3 }' | sort -k2,2V | tail -n 1
		return
	done
	return 1
}

# vmlinux BZIMAGE writes the ELF file that a bzImage carries. Where it lies stands
# in the header: setup_sects, payload_offset, payload_length (Documentation/arch/x86/boot.rst).
vmlinux() {
	local setup offset length payload=$1.payload
	setup=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
	offset=$(od -An -tu4 -j $((0x248)) -N 4 "$1")
	length=$(od -An -tu4 -j $((0x24c)) -N 4 "$1")
	# The last four bytes of the payload are its unpacked size, not compressed data.
	tail -c +$(((setup + 1) * 512 + offset + 1)) "$1" | head -c $((length - 4)) >"$payload" || true
	case $(od -An -tx1 -N 4 "$payload") in
	' fd 37 7a 58') xz -dc "$payload" ;;
	' 28 b5 2f fd') zstd -qdc "$payload" ;;
	' 02 21 4c 18') lz4 -qdc "$payload" ;;
	*) die "$1 is compressed in an unknown way" ;;
	esac
	rm "$payload"
}

# unpack DIR DEB... takes what the tests need out of the packages.
unpack() {
	local dir=$1 deb file name
	shift
	mkdir "$dir/root"
	for deb in "$@"; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/root"
	done
	# /boot/vmlinuz-RELEASE, from 7.2 on /usr/lib/modules/RELEASE/vmlinuz.
	for name in vmlinuz config; do
		file=$(find "$dir/root" \( -path "*/boot/$name-*" -o -path "*/modules/*/$name" \) -type f | sed -n 1p)
		[ -n "$file" ] || die "the packages hold no $name"
		mv "$file" "$dir/$name"
	done
	name=$(find "$dir/root" -path '*/lib/modules/*/kernel' -prune | sed -n 1p)
	name=${name%/kernel}
	echo "${name##*/}" >"$dir/release"
	vmlinux "$dir/vmlinuz" >"$dir/vmlinux"
	for name in $modules; do
		file=$(find "$dir/root" -name "$name.ko*" -type f | sed -n 1p)
		case $file in
		'') ;;
		*.xz) xz -dc "$file" >"$dir/$name.ko" ;;
		*.zst) zstd -qdc "$file" >"$dir/$name.ko" ;;
		*) mv "$file" "$dir/$name.ko" ;;
		esac
	done
	[ -s "$dir/dummy.ko" ] || die 'the packages hold no dummy.ko'
	rm -r "$dir/root"
}

fetch() {
	local series=$1 package version dir part want=()
	read -r package version < <(newest "$series") || true
	[ -n "${version:-}" ] || die "no suite of the mirror has a kernel $series"
	dir=$(mktemp -d "$cache/.$series.XXXXXX")
	# shellcheck disable=SC2064  # this directory, now
	trap "rm -rf '$dir'" EXIT
	want=("$package=$version")
	# From 7.2 on the image package is empty: kernel, modules and configuration have packages
	# of their own.
	for part in base binary modules; do
		part=linux-$part-${package#linux-image-}
		if [ -n "$(apt_own apt-cache madison "$part")" ]; then
			want+=("$part=$version")
		fi
	done
	(cd "$dir" && apt_own apt-get download "${want[@]}")
	unpack "$dir" "$dir"/*.deb
	echo "$version" >"$dir/version"
	rm "$dir"/*.deb
	chmod 755 "$dir"
	mv "$dir" "$cache/$series"
}

[ $# -gt 0 ] || set -- 6.1 6.12 6.18 7.3
mkdir -p "$cache"
updated=
status=0
for series in "$@"; do
	if [ -e "$cache/$series/version" ]; then
		echo "fetch.sh: $series: have $(<"$cache/$series/release")"
		continue
	fi
	if [ -z "$updated" ]; then
		update
		updated=yes
	fi
	# A subshell that is not part of a condition, so that set -e works in it.
	set +e
	(set -e; fetch "$series")
	failed=$?
	set -e
	if [ $failed = 0 ]; then
		echo "fetch.sh: $series: got $(<"$cache/$series/release")"
	elif [[ $required == *" $series "* ]]; then
		status=1
	else
		echo "fetch.sh: $series: going on without it" >&2
	fi
done
exit $status
