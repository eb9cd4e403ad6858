#!/bin/bash
# Makes what is missing in testdata/ and leaves what is there: to remake a file,
# delete it and run this again. Signatures are made of hello.ko, so they have to
# go with it; `generate.sh module` makes hello.ko and sees to that.
#
# Needs Debian 12 with openssl and linux-kbuild-6.1; `module` needs gcc, make and
# linux-headers-amd64 too, sign-file with OpenSSL 4 needs gcc. What OpenSSL 3.0 cannot
# sign is left to newer Debians' sign-file and openssl, run without installing them.
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

### The systems that sign-file and openssl are taken from ######################

# debian12 TOOL ARGUMENT...: sign-file or openssl as this machine has them.
debian12() {
	local tool=$1
	shift
	case $tool in
	sign-file) /usr/lib/linux-kbuild-6.1/scripts/sign-file "$@" ;;
	openssl) command openssl "$@" ;;
	esac
}

# debian13 TOOL ARGUMENT...: the same from Debian 13, on its own C library.
debian13() {
	local tool=$1
	shift
	../tools/debian-tools "$tmp/debian13" trixie,trixie-backports
	"$tmp/debian13/bin/$tool" "$@"
}

# openssl4 TOOL ARGUMENT...: OpenSSL 4, and a sign-file that is built with it, for no
# Debian has one yet.
openssl4() {
	local tool=$1
	shift
	../tools/debian-tools "$tmp/openssl4" sid,experimental libssl-dev $linux_source
	[ -d "$tmp/openssl4/linux" ] || build_sign_file "$tmp/openssl4" >&2
	"$tmp/openssl4/bin/$tool" "$@"
}

linux_source=linux-source-7.3

# build_sign_file DIR: in the place of the one that is linked with OpenSSL 3.
build_sign_file() {
	local root=$1/root lib
	lib=$(echo "$root"/usr/lib/*-linux-gnu)
	mkdir "$1/linux"
	tar -C "$1/linux" --strip-components 1 -xf "$root/usr/src/$linux_source.tar.xz" \
		$linux_source/scripts $linux_source/include/uapi
	# The C library of this machine is older than the one that libcrypto wants.
	gcc -Wno-cpp -o "$(echo "$root"/usr/lib/linux-kbuild-*/scripts/sign-file)" \
		-I "$root/usr/include" -I "$root/usr/include/${lib##*/}" \
		-I "$1/linux/include/uapi" -I "$1/linux/scripts" "$1/linux/scripts/sign-file.c" \
		-L "$lib" -lcrypto -Wl,--allow-shlib-undefined
}

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
	[ no_ski ]
	basicConstraints=critical,CA:FALSE
	keyUsage=digitalSignature
	subjectKeyIdentifier=none
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

# mldsa: ML-DSA keys, which this machine's openssl does not know.
mldsa() {
	local size form
	# shellcheck disable=SC2317 # private_key and pair call it
	openssl() { debian13 openssl "$@"; }
	for size in 44 65 87; do
		put keys/mldsa$size.key private_key ML-DSA-$size
		pair keys/mldsa$size
	done
	for form in $mldsa_forms; do
		put "keys/odd/mldsa65-$form.key" openssl pkey -in keys/mldsa65.key \
			-provparam "ml-dsa.output_formats=$form"
	done
	put keys/odd/mldsa65-encrypted.key openssl pkcs8 -in keys/mldsa65.key -topk8 -passout pass:secret
}
# What else OpenSSL writes: the first two with the seed, the others without.
mldsa_forms='seed-only bare-seed priv-only bare-priv oqskeypair'
(mldsa)

### Odd ones ###################################################################
# README.md says what each of them is. They borrow the keys from above.

odd=keys/odd
rsa=keys/rsa2048
ec=keys/p256

# Certificates.

# The issuer has what a re-encoding would lose: T61String beside PrintableString,
# and two attributes in one RDN.
ca_certificate() {
	cat >"$tmp/conf" <<-EOF
	[ req ]
	distinguished_name = subject
	prompt = no
	string_mask = nombstr
	x509_extensions = extensions
	[ subject ]
	C = DE
	O = Schl$(printf '\xfc')sseldienst
	OU = Modules
	+CN = CA of sign-file_tests
	[ extensions ]
	basicConstraints=critical,CA:TRUE
	keyUsage=keyCertSign,cRLSign
	subjectKeyIdentifier=hash
	authorityKeyIdentifier=keyid
	EOF
	openssl req -new -sha512 -days 36500 -batch -x509 -config "$tmp/conf" -key "$1"
}

# Only `openssl ca` of OpenSSL 3.0 takes both dates.
expired_certificate() {
	{
		request_conf expired
		cat <<-EOF
		[ ca ]
		database = $tmp/ca.index
		new_certs_dir = $tmp
		policy = any
		rand_serial = yes
		[ any ]
		O = supplied
		CN = supplied
		EOF
	} >"$tmp/conf"
	: >"$tmp/ca.index"
	openssl req -new -utf8 -sha512 -batch -config "$tmp/conf" -key "$1" -out "$tmp/ca.csr"
	openssl ca -utf8 -batch -notext -selfsign -md sha512 -config "$tmp/conf" -name ca \
		-extensions extensions -startdate 20000101000000Z -enddate 20010101000000Z \
		-keyfile "$1" -in "$tmp/ca.csr" 2>"$tmp/log" || { cat "$tmp/log" >&2; exit 1; }
}

put $odd/serial-zero.pem certificate serial-zero $rsa.key -set_serial 0
put $odd/serial-negative.pem certificate serial-negative $rsa.key -set_serial -0x5eed1234
put $odd/no-ski.pem certificate no-ski $rsa.key -extensions no_ski
put $odd/ca.pem ca_certificate keys/rsa3072.key
put $odd/issued-by-ca.pem certificate issued-by-ca $rsa.key -CA $odd/ca.pem -CAkey keys/rsa3072.key
put $odd/expired.pem expired_certificate $rsa.key

# What may stand around a key or a certificate.

text_before() {
	printf 'Bag Attributes\n    friendlyName: a test\n-----NOT A LABEL-----\n'
	cat "$1"
}

byte_order_mark() {
	printf '\xef\xbb\xbf'
	cat "$1"
}

for suffix in key pem; do
	put $odd/text-before.$suffix text_before $rsa.$suffix
	put $odd/crlf.$suffix sed 's/$/\r/' $rsa.$suffix
	put $odd/bom.$suffix byte_order_mark $rsa.$suffix
done
put $odd/signing_key.pem cat $rsa.key $rsa.pem
put $odd/certificate-first.pem cat $rsa.pem $rsa.key
put $odd/two-certificates.pem cat $ec.pem $rsa.pem
put $odd/two-keys.key cat $rsa.key $ec.key

public_key_first() {
	openssl pkey -in "$1" -pubout
	cat "$1"
}
put $odd/public-key-first.key public_key_first $rsa.key

# Certificates in other clothes, and what is none.

trailing_bytes() {
	cat "$1"
	echo 'bytes that nobody reads'
}

certificate_request() {
	request_conf request >"$tmp/conf"
	openssl req -new -utf8 -sha512 -batch -config "$tmp/conf" -key "$1"
}

put $odd/x509-label.pem sed 's/ CERTIFICATE/ X509 CERTIFICATE/' $rsa.pem
put $odd/trusted-label.pem openssl x509 -in $rsa.pem -trustout -addtrust codeSigning
put $odd/truncated.x509 head -c 600 $rsa.x509
put $odd/trailing-bytes.x509 trailing_bytes $rsa.x509
put $odd/request.csr certificate_request $rsa.key
put $odd/bundle.p7b openssl crl2pkcs7 -nocrl -certfile $rsa.pem

# Keys in other clothes.

sec1_key() {
	openssl ecparam -name prime256v1
	openssl pkey -in "$1" -traditional
}

# der LABEL FILE: what is between the lines of that label in a PEM file.
der() {
	sed -n "/-BEGIN $1-/,/-END $1-/{/-----/!p}" "$2" | base64 -d
}

put $odd/pkcs1.key openssl pkey -in $rsa.key -traditional
put $odd/sec1.key sec1_key $ec.key
put $odd/pkcs8.der der 'PRIVATE KEY' $rsa.key
put $odd/pkcs1.der der 'RSA PRIVATE KEY' $odd/pkcs1.key
put $odd/sec1.der der 'EC PRIVATE KEY' $odd/sec1.key
put $odd/encrypted-pkcs8.key openssl pkcs8 -in $rsa.key -topk8 -v2 aes-256-cbc -passout pass:secret
put $odd/encrypted-traditional.key openssl pkey -in $rsa.key -traditional -aes256 -passout pass:secret

# Keys that sign otherwise, or not at all.

dsa_key() {
	openssl genpkey -quiet -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:2048 -out "$tmp/dsa"
	openssl genpkey -quiet -paramfile "$tmp/dsa"
}

put $odd/rsa-pss.key private_key RSA-PSS -pkeyopt rsa_keygen_bits:2048
put $odd/ed25519.key private_key ED25519
put $odd/dsa.key dsa_key
put $odd/secp256k1.key ec_key secp256k1
put $odd/brainpoolP256r1.key ec_key brainpoolP256r1
for key in rsa-pss ed25519 dsa secp256k1 brainpoolP256r1; do
	put $odd/$key.pem certificate $key $odd/$key.key
done

### Signatures #################################################################

rsa_hashes='sha1 sha224 sha256 sha384 sha512 sha512-224 sha512-256
	sha3-224 sha3-256 sha3-384 sha3-512 md5 ripemd160'
ec_hashes='sha1 sha224 sha256 sha384 sha512'
ec_hashes_new='sha3-224 sha3-256 sha3-384 sha3-512'

# origin SYSTEM FILE: writes down in SOURCES what made FILE.
origin() {
	local system=$1 file=$2 kbuild libssl
	case $system in
	debian12)
		kbuild=$(dpkg-query -W linux-kbuild-6.1)
		libssl=$(dpkg-query -W libssl3)
		;;
	debian13)
		kbuild=$(dpkg-deb -W "$tmp"/debian13/linux-kbuild-*.deb)
		libssl=$(dpkg-deb -W "$tmp"/debian13/libssl3t64_*.deb)
		;;
	openssl4)
		kbuild=$(dpkg-deb -W "$tmp"/openssl4/linux-source-*.deb)
		libssl=$(dpkg-deb -W "$tmp"/openssl4/libssl4_*.deb)
		;;
	esac
	touch golden/SOURCES
	{
		awk -v file="$file" '$1 != file' golden/SOURCES
		# shellcheck disable=SC2086 # one word for each column
		printf '%-35s %-25s %-16s %-13s %s\n' "$file" $kbuild $libssl
	} | sort >"$tmp/SOURCES"
	mv "$tmp/SOURCES" golden/SOURCES
}

# detached SYSTEM KEY CERTIFICATE HASH [SUFFIX]: the two signatures, the second one
# with -k, each of them held against the module before it is kept.
detached() {
	local system=$1 key=$2 certificate=$3 hash=$4 suffix=${5-} option file
	for option in '' k; do
		file=${certificate##*/}-$hash$suffix${option:+-$option}.p7s
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

# signed FILE MODULE OPTIONS KEY HASH [SYSTEM]: MODULE signed in place.
signed() {
	local file=$1 module=$2 options=$3 key=$4 hash=$5 system=${6-debian12}
	[ ! -e "golden/$file" ] || return 0
	cp "$module" "$tmp/hello.ko"
	# shellcheck disable=SC2086 # no options are no argument
	"$system" sign-file $options "$hash" "keys/$key.key" "keys/$key.pem" "$tmp/hello.ko"
	mv "$tmp/hello.ko" "golden/$file"
	origin "$system" "$file"
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
for certificate in serial-zero serial-negative issued-by-ca; do
	detached debian12 $rsa.key $odd/$certificate sha256
done

# Attributes are all that OpenSSL 3 signs with ML-DSA, and sign-file does with it.
for key in mldsa44 mldsa65 mldsa87; do
	detached debian13 keys/$key.key keys/$key sha512 -attributes
	for hash in sha256 sha512 sha3-512; do
		detached openssl4 keys/$key.key keys/$key "$hash"
	done
done

signed hello-rsa2048-sha256.ko hello.ko '' rsa2048 sha256
signed hello-rsa2048-sha256-k.ko hello.ko -k rsa2048 sha256
signed hello-rsa4096-sha512.ko hello.ko '' rsa4096 sha512
signed hello-p256-sha256.ko hello.ko '' p256 sha256
signed hello-rsa2048-sha256-twice.ko golden/hello-rsa2048-sha256.ko '' rsa2048 sha256
signed hello-mldsa65-sha512.ko hello.ko '' mldsa65 sha512 openssl4
signed hello-mldsa65-sha512-attributes.ko hello.ko '' mldsa65 sha512 debian13
