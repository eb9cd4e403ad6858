#!/bin/bash
# Makes what is missing in testdata/ and leaves what is there: to remake a file,
# delete it and run this again. Signatures are made of hello.ko, so they have to
# go with it; `generate.sh module` makes hello.ko and sees to that.
#
# Needs Debian 12 with openssl and linux-kbuild-6.1; `module` needs gcc, make and
# linux-headers-amd64 too. What OpenSSL 3.0 cannot sign is left to Debian 13's
# sign-file, fetched from this machine's Debian mirror and run without installing.
set -eu
cd "$(dirname "$0")"
umask 022
export LC_ALL=C OPENSSL_CONF=/dev/null
unset KBUILD_SIGN_PIN POSIXLY_CORRECT

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# put FILE COMMAND...: FILE is what COMMAND prints.
put() {
	local file=$1
	shift
	if [ ! -e "$file" ]; then
		"$@" >"$tmp/put"
		mv "$tmp/put" "$file"
	fi
}

### The module #################################################################

build_module() {
	local headers
	headers=$(printf '%s\n' /usr/src/linux-headers-*-amd64 | sort -V | tail -n 1)
	mkdir "$tmp/module"
	cp hello.c "$tmp/module/"
	echo 'obj-m := hello.o' >"$tmp/module/Kbuild"
	# Without the folder's name in it the build id, and so the module, is the same every time.
	make -C "$headers" M="$tmp/module" KCFLAGS="-ffile-prefix-map=$tmp/module=." modules >&2
	strip --strip-debug "$tmp/module/hello.ko"
	cat "$tmp/module/hello.ko"
}

case ${1-} in
module)
	build_module >"$tmp/hello.ko"
	if ! cmp -s "$tmp/hello.ko" hello.ko; then
		rm -rf golden
		mv "$tmp/hello.ko" hello.ko
	fi
	;;
'')
	[ -e hello.ko ] || { echo "hello.ko is missing: run $0 module" >&2; exit 1; }
	;;
*)
	echo "usage: $0 [module]" >&2
	exit 2
	;;
esac

### The data of a BPF map value ################################################

# An allow-list: ten IPv4 addresses (of the range that is for documentation).
allow_list() {
	local host
	for host in 1 2 3 5 8 13 21 34 55 89; do
		printf '%b' "\\xc0\\x00\\x02\\x$(printf %02x "$host")"
	done
}
put value.bin allow_list

### Keys and certificates ######################################################

# private_key ALGORITHM [OPTION...]: a new key in PKCS#8.
private_key() {
	local algorithm=$1
	shift
	openssl genpkey -quiet -algorithm "$algorithm" "$@"
}

ec_key() {
	private_key EC -pkeyopt ec_paramgen_curve:"$1" -pkeyopt ec_param_enc:named_curve
}

# request_conf NAME: the kernel's certs/default_x509.genkey, with our names.
request_conf() {
	cat <<-EOF
	[ req ]
	distinguished_name = subject
	prompt = no
	string_mask = utf8only
	x509_extensions = extensions
	[ subject ]
	O = sign-file
	CN = $1: test key known to everyone
	[ extensions ]
	basicConstraints=critical,CA:FALSE
	keyUsage=digitalSignature
	subjectKeyIdentifier=hash
	authorityKeyIdentifier=keyid
	EOF
}

# certificate NAME KEY [OPTION...]: as the kernel's certs/Makefile makes it.
certificate() {
	local name=$1 key=$2
	shift 2
	request_conf "$name" >"$tmp/conf"
	openssl req -new -utf8 -sha512 -days 36500 -batch -x509 -config "$tmp/conf" -key "$key" "$@"
}

# pair FOLDER/NAME: what goes with the key FOLDER/NAME.key.
pair() {
	put "$1.pem" certificate "${1##*/}" "$1.key"
	put "$1.x509" openssl x509 -in "$1.pem" -outform DER
}

mkdir -p keys/odd
for bits in 2048 3072 4096; do
	put keys/rsa$bits.key private_key RSA -pkeyopt rsa_keygen_bits:$bits
	pair keys/rsa$bits
done
for bits in 224 256 384 521; do
	put keys/p$bits.key ec_key P-$bits
	pair keys/p$bits
done

### Signatures #################################################################

rsa_hashes='sha1 sha224 sha256 sha384 sha512 sha512-224 sha512-256
	sha3-224 sha3-256 sha3-384 sha3-512 md5 ripemd160'
ec_hashes='sha1 sha224 sha256 sha384 sha512'
ec_hashes_new='sha3-224 sha3-256 sha3-384 sha3-512'

# debian12 TOOL ARGUMENT...: sign-file or openssl as this machine has them.
debian12() {
	local tool=$1
	shift
	case $tool in
	sign-file) /usr/lib/linux-kbuild-6.1/scripts/sign-file "$@" ;;
	openssl) openssl "$@" ;;
	esac
}

# debian13 TOOL ARGUMENT...: the same from Debian 13, on its own C library.
debian13() {
	local tool=$1 root=$tmp/debian13/root loader
	shift
	[ -d "$root" ] || fetch_debian13 >&2
	case $tool in
	sign-file) tool=$(echo "$root"/usr/lib/linux-kbuild-*/scripts/sign-file) ;;
	openssl) tool=$root/usr/bin/openssl ;;
	esac
	loader=$(echo "$root"/usr/lib/*/ld-linux-*.so.2)
	"$loader" --library-path "${loader%/*}" "$tool" "$@"
}

fetch_debian13() {
	local apt=$tmp/debian13/apt mirror kbuild package
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# shellcheck disable=SC2016 # the names are apt's, not the shell's
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		sed -n '/^Debian Debian /{s///p;q;}')
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-EOF
	Dir::Etc::sourcelist "$apt/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::State::lists "$apt/lists";
	Dir::State::status "/dev/null";
	Dir::Cache "$apt/cache";
	APT::Sandbox::User "root";
	EOF
	(
		export APT_CONFIG=$apt/apt.conf
		cd "$apt"
		apt-get update
		kbuild=$(apt-cache search --names-only '^linux-kbuild-' | cut -d' ' -f1 | sort -V | tail -n 1)
		apt-get download "$kbuild" libssl3t64 openssl libc6 zlib1g libzstd1
		mkdir ../root
		for package in *.deb; do
			dpkg-deb -x "$package" ../root
		done
	)
}

# origin SYSTEM FILE: writes down in SOURCES what made FILE.
origin() {
	local system=$1 file=$2 debs=$tmp/debian13/apt kbuild libssl
	case $system in
	debian12)
		kbuild=$(dpkg-query -W linux-kbuild-6.1)
		libssl=$(dpkg-query -W libssl3)
		;;
	debian13)
		kbuild=$(dpkg-deb -W "$debs"/linux-kbuild-*.deb)
		libssl=$(dpkg-deb -W "$debs"/libssl3t64_*.deb)
		;;
	esac
	touch golden/SOURCES
	{
		awk -v file="$file" '$1 != file' golden/SOURCES
		# shellcheck disable=SC2086 # one word for each column
		printf '%-30s %-27s %-10s %-13s %s\n' "$file" $kbuild $libssl
	} | sort >"$tmp/SOURCES"
	mv "$tmp/SOURCES" golden/SOURCES
}

# detached SYSTEM KEY CERTIFICATE HASH: the two signatures, the second one with
# -k, each of them held against the module before it is kept.
detached() {
	local system=$1 key=$2 certificate=$3 hash=$4 option file
	for option in '' k; do
		file=${certificate##*/}-$hash${option:+-$option}.p7s
		[ ! -e "golden/$file" ] || continue
		cp hello.ko "$tmp/hello.ko"
		"$system" sign-file -d$option "$hash" "$key" "$certificate.pem" "$tmp/hello.ko"
		"$system" openssl cms -verify -binary -inform DER -in "$tmp/hello.ko.p7s" -content hello.ko \
			-certfile "$certificate.pem" -noverify -nointern -out /dev/null 2>"$tmp/verify" ||
			{ cat "$tmp/verify" >&2; exit 1; }
		mv "$tmp/hello.ko.p7s" "golden/$file"
		origin "$system" "$file"
	done
}

# signed FILE MODULE OPTIONS KEY HASH: MODULE signed in place.
signed() {
	local file=$1 module=$2 options=$3 key=$4 hash=$5
	[ ! -e "golden/$file" ] || return 0
	cp "$module" "$tmp/hello.ko"
	# shellcheck disable=SC2086 # no options are no argument
	debian12 sign-file $options "$hash" "keys/$key.key" "keys/$key.pem" "$tmp/hello.ko"
	mv "$tmp/hello.ko" "golden/$file"
	origin debian12 "$file"
}

mkdir -p golden
for key in rsa2048 rsa3072 rsa4096; do
	for hash in $rsa_hashes; do
		detached debian12 keys/$key.key keys/$key "$hash"
	done
done
for key in p224 p256 p384 p521; do
	for hash in $ec_hashes; do
		detached debian12 keys/$key.key keys/$key "$hash"
	done
done
for key in p256 p384 p521; do
	for hash in $ec_hashes_new; do
		detached debian13 keys/$key.key keys/$key "$hash"
	done
done
for key in rsa2048 rsa4096; do
	detached debian13 keys/$key.key keys/$key sm3
done

signed hello-rsa2048-sha256.ko hello.ko '' rsa2048 sha256
signed hello-rsa2048-sha256-k.ko hello.ko -k rsa2048 sha256
signed hello-rsa4096-sha512.ko hello.ko '' rsa4096 sha512
signed hello-p256-sha256.ko hello.ko '' p256 sha256
signed hello-rsa2048-sha256-twice.ko golden/hello-rsa2048-sha256.ko '' rsa2048 sha256
