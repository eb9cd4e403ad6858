#!/bin/sh
# Builds sign-file, signs the kernel module and the BPF map value in testdata with
# the key there, verifies both, and shows what was done. Writes to ./try alone.
set -eu
cd "$(dirname "$0")"
tools/need-go

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; "$@"; }

CGO_ENABLED=0 go build -trimpath -tags urfave_cli_no_docs -o sign-file .
rm -rf try
mkdir try
cp testdata/hello.ko testdata/value.bin try/
keys=testdata/keys

echo "A kernel module, signed in place as the kernel's build does it:"
say ./sign-file sha512 $keys/rsa4096.key $keys/rsa4096.x509 try/hello.ko
say ./sign-file inspect try/hello.ko
say ./sign-file verify --kernel 6.12 --trusted $keys/rsa4096.x509 try/hello.ko
if PATH=$PATH:/usr/sbin:/sbin command -v modinfo >/dev/null; then
	PATH=$PATH:/usr/sbin:/sbin say modinfo -F signer try/hello.ko
fi

printf '\nA BPF map value of 1024 bytes:\n'
say ./sign-file map sign --value-size 1024 sha256 $keys/p256.key $keys/p256.x509 try/value.bin try/value.signed
say ./sign-file map inspect try/value.signed
say ./sign-file map verify --kernel 6.12 --trusted $keys/p256.x509 try/value.signed

printf '\nOne changed byte in each, and the answer the kernel would give:\n'
printf X | dd of=try/hello.ko bs=1 seek=1000 conv=notrunc status=none
printf X | dd of=try/value.signed bs=1 seek=10 conv=notrunc status=none
say ./sign-file verify --kernel 6.12 --trusted $keys/rsa4096.x509 try/hello.ko && exit 1
say ./sign-file map verify --kernel 6.12 --trusted $keys/p256.x509 try/value.signed && exit 1
printf '\nThe files are in ./try, the program is ./sign-file.\n'
