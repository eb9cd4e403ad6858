#!/bin/bash
# Build small kernels that decompress modules by themselves as Debian's do not: those
# take xz or nothing. The source is Debian's.
#
#   build.sh [format...]            default: gzip zstd
#
# Each format becomes a directory small-FORMAT of the cache with
#   vmlinux   the kernel's ELF file
#   config    its configuration: tinyconfig and small.config
#   release   its uname -r, version: its package version
#   build     what make modules_install needs of the build tree, with two modules, the
#             key that the build made, the kernel's own scripts/sign-file, certs/Makefile
#             and certs/extract-cert
#
# What is there already is left alone; remove a directory to have it made anew. Takes
# 5 minutes for both on two processors, 2 GB of space until it ends, and the packages
#   gcc make flex bison bc libelf-dev libssl-dev
#
# The cache, the mirror and the variables that name them: apt.sh.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
# shellcheck source=test/kernel/apt.sh
. "$here/apt.sh"

# 6.1 decompresses no zstd by itself.
source=linux-source-6.12
# Most of the source, which nothing here compiles. Its Kconfig files are read.
unused=('*/drivers/gpu/*.[ch]' '*/drivers/net/*.[ch]' '*/drivers/media/*.[ch]' '*/sound/*.[ch]'
	'*.dts*' '*.rst' '*/testing/*')

needed() {
	local tool
	for tool in gcc make flex bison bc; do
		command -v "$tool" >/dev/null || die "$tool is missing: $0 names all packages that it takes"
	done
}

# unpack DIR leaves the source in DIR/tree, and its version in DIR/version.
unpack() {
	update
	apt_own apt-cache madison "$source" | awk '{ print $3 }' | sort -V | tail -n 1 >"$1/version"
	[ -s "$1/version" ] || die "no suite of the mirror has $source"
	mkdir "$1/tree"
	(cd "$1" && apt_own apt-get download "$source=$(<version)")
	dpkg-deb --fsys-tarfile "$1"/*.deb | tar -xO "./usr/src/$source.tar.xz" |
		tar -xJ -C "$1/tree" --strip-components=1 "${unused[@]/#/--exclude=}"
	rm "$1"/*.deb
}

# configure TREE FORMAT
configure() {
	local option
	cp "$here/../../testdata/keys/rsa2048.pem" "$1/certs/"
	cp "$here/small.config" "$1/kernel/configs/"
	echo "CONFIG_MODULE_COMPRESS_${2^^}=y" >"$1/kernel/configs/format.config"
	make -s -C "$1" tinyconfig small.config format.config >/dev/null
	# An option that depends on another is dropped without a word.
	while read -r option; do
		grep -qxF "$option" "$1/.config" || die "the source does not take $option"
	done < <(grep -h '^CONFIG' "$1"/kernel/configs/{small,format}.config)
}

# keep TREE DIR takes what the tests need of a build.
keep() {
	local modules
	mapfile -t modules < <(sed 's/o$/ko/' "$1/modules.order")
	mkdir -p "$2/build"
	mv "$1/vmlinux" "$2/"
	cp "$1/.config" "$2/config"
	cp "$1/include/config/kernel.release" "$2/release"
	(cd "$1" && cp -a --parents Makefile arch/x86/Makefile* scripts include/config/{auto.conf,kernel.release} \
		include/generated/autoconf.h certs/{Makefile,extract-cert,signing_key.*} modules.* "${modules[@]}" "$2/build/")
	find "$2/build/scripts" -name '*.o' -delete
}

[ $# -gt 0 ] || set -- gzip zstd
mkdir -p "$cache"
work=
for format in "$@"; do
	if [ -e "$cache/small-$format/build/certs/extract-cert" ]; then
		echo "build.sh: $format: have $(<"$cache/small-$format/release")"
		continue
	fi
	if [ -z "$work" ]; then
		needed
		work=$(mktemp -d "$cache/.small.XXXXXX")
		trap 'rm -rf "$work"' EXIT
		unpack "$work"
	fi
	configure "$work/tree" "$format"
	make -s -C "$work/tree" -j "$(nproc)" vmlinux modules
	keep "$work/tree" "$work/$format"
	cp "$work/version" "$work/$format/"
	rm -rf "$cache/small-$format" # of an earlier build.sh, which kept less
	mv "$work/$format" "$cache/small-$format"
	echo "build.sh: $format: got $(<"$cache/small-$format/release")"
done
