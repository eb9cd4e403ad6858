#!/bin/bash
# usage: testdata/vectors/generate.sh
#
# Makes the vectors anew, with ./sign-file (make) and OpenSSL, and forgets the verdicts:
# SIGN_FILE_WRITE_VECTORS=1 make test-kernel asks the kernels for them. ECDSA signatures
# are other bytes each time.
set -euo pipefail
cd "$(dirname "$0")"
sign_file=../../sign-file keys=../keys data=../value.bin
rm -rf certificates values messages
mkdir certificates values messages
for key in rsa2048 rsa4096 p256 p384 p521 mldsa65; do
	cp "$keys/$key.x509" "certificates/$key.der"
done
cp "$data" messages/data
list=()
# vector KIND NAME COMMENT: what is in the file KINDs/NAME.
vector() { list+=("$(jq -n --arg kind "$1" --arg name "$2" --arg comment "$3" '{$name, $kind, $comment, verdicts: {}}')"); }
be32() { printf "%08x" "$1" | xxd -r -p; }
flip() { # FILE OFFSET
	local byte
	byte=$(xxd -p -s "$2" -l 1 "$1")
	printf "%02x" $((0x$byte ^ 1)) | xxd -r -p | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
sign() { "$sign_file" map sign "${@:2}" "$keys/$key.key" "$keys/$key.pem" "$data" "values/$1"; }

for key in rsa2048 rsa4096 p256 p384 p521 mldsa65; do
	sign "$key-sha256" sha256
	vector value "$key-sha256" "data signed by $key with SHA-256"
	sign "$key-sha512-keyid" -k sha512
	vector value "$key-sha512-keyid" "the signer is named by subject key identifier, SHA-512"
done
key=rsa2048
for hash in sha1 sha224 sha384 sha3-256 sha3-512 md5; do
	sign "rsa2048-$hash" "$hash" 2>/dev/null
	vector value "rsa2048-$hash" "signed with $hash"
done
sign padded --value-size 1024 sha256
vector value padded 'padded with zeros to 1024 bytes, the value size of a map'
good=values/rsa2048-sha256
signed=$(($(stat -c %s "$good") - 4))
tail=$((4 + signed))
cp values/padded values/tail-changed
flip values/tail-changed $((tail + 9))
vector value tail-changed 'a changed byte behind the signature, which covers it not'
for change in size:3 data:4 data-end:43 message:60 signature:400 trailer-type:$((tail - 38)) trailer-length:$((tail - 29)) marker:$((tail - 5)); do
	cp "$good" "values/changed-${change%:*}"
	flip "values/changed-${change%:*}" "${change#*:}"
	vector value "changed-${change%:*}" "rsa2048-sha256 with one bit changed at offset ${change#*:}"
done
{ be32 $((signed - 1)); tail -c +5 "$good"; } >values/size-less
vector value size-less 'the size is one less than data and signature have'
{ be32 $((signed + 1)); tail -c +5 "$good"; printf '\0'; } >values/size-more
vector value size-more 'the size is one more than data and signature have'
{ be32 0; tail -c +5 "$good"; } >values/size-zero
vector value size-zero 'the size is zero'
{ be32 4294967295; tail -c +5 "$good"; } >values/size-most
vector value size-most 'the size is 2^32-1'
{ be32 "$signed" | xxd -e -g4 | xxd -r; tail -c +5 "$good"; } >values/size-little-endian
vector value size-little-endian 'the size is little-endian'
head -c 3 "$good" >values/three-bytes
vector value three-bytes 'no room for the size'
head -c $((tail - 1)) "$good" >values/cut
vector value cut 'the last byte of the marker is missing'
{ be32 40; cat "$data"; } >values/unsigned
vector value unsigned 'data without a signature'
key=rsa3072 sign unknown-key sha256
vector value unknown-key 'signed by a key that nobody trusts'
cp "$data" twice.tmp
"$sign_file" sha256 $keys/rsa2048.key $keys/rsa2048.pem twice.tmp
"$sign_file" sha256 $keys/rsa3072.key $keys/rsa3072.pem twice.tmp 2>/dev/null
"$sign_file" map wrap twice.tmp values/signed-twice
rm twice.tmp
vector value signed-twice 'signed by rsa2048, and around that by a key that nobody trusts'

cms() { openssl cms -sign -binary -in "$data" -signer $keys/rsa2048.pem -inkey $keys/rsa2048.key -outform DER -out "messages/$1.p7s" "${@:2}"; }
cms plain -noattr -nocerts -nosmimecap -md sha256
vector message plain 'what sign-file -d writes'
cms certificates -noattr -md sha256
vector message certificates 'with the certificate of the signer'
cms attributes -nocerts -nosmimecap -md sha256
vector message attributes 'with signed attributes'
cms attached -noattr -nocerts -nodetach -md sha256
vector message attached 'with the data in it'
cms streamed -noattr -nocerts -stream -md sha256
vector message streamed 'in BER, of indefinite length'
cms keyid -noattr -nocerts -keyid -md sha256
vector message keyid 'the signer is named by subject key identifier'
cms pss -noattr -nocerts -md sha256 -keyopt rsa_padding_mode:pss
vector message pss 'RSA-PSS'
openssl cms -sign -binary -in "$data" -outform DER -out messages/two-signers.p7s -noattr -nocerts -md sha256 \
	-signer $keys/rsa2048.pem -inkey $keys/rsa2048.key -signer $keys/rsa3072.pem -inkey $keys/rsa3072.key
vector message two-signers 'signed by rsa2048, and by a key that nobody trusts'
openssl cms -sign -binary -in "$data" -outform DER -out messages/unknown-signer.p7s -noattr -nocerts -md sha256 \
	-signer $keys/rsa3072.pem -inkey $keys/rsa3072.key
vector message unknown-signer 'signed by a key that nobody trusts'
printf x | openssl cms -sign -binary -outform DER -out messages/other-data.p7s -noattr -nocerts -md sha256 -signer $keys/rsa2048.pem -inkey $keys/rsa2048.key
vector message other-data 'of other data'
: >messages/empty.p7s
vector message empty 'nothing'
{ cat messages/plain.p7s; printf '\0'; } >messages/byte-after.p7s
vector message byte-after 'with a zero byte behind it'

printf '%s\n' "${list[@]}" | jq -s . >vectors.json
