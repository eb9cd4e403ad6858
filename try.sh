#!/bin/sh
# Builds sign-file, signs the kernel module and the BPF map value in testdata with
# the key there, verifies both, and shows what was done. Writes ./sign-file and ./try,
# and what is downloaded into the user's caches:
#
#   the Go modules that it is made of, 60 MB (Go's module cache)
#   the Go release of go.mod, 70 MB, where Go is an older one (the same cache)
#   Debian's Go, 60 MB, where there is no Go 1.21 or later (~/.cache/sign-file/go)
#
# Nothing is installed, and no root is needed. What is built here has no PKCS#11 tokens,
# for which it takes a C compiler: make.
set -eu
cd "$(dirname "$0")"
echo 'Writes ./sign-file and ./try, and into your caches what has to be downloaded: at most 190 MB, nothing the second time.'
go=$(tools/need-go)

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; "$@"; }

echo 'Builds ./sign-file, without PKCS#11 tokens (make builds it with them):'
export CGO_ENABLED=0
say "$go" build -trimpath -tags urfave_cli_no_docs -o sign-file . || {
	echo "$0: the build failed: the reason is above. Go fetches the modules of go.mod from where GOPROXY says ($("$go" env GOPROXY))." >&2
	exit 1
}
rm -rf try
mkdir try
cp testdata/hello.ko testdata/value.bin try/
keys=testdata/keys

printf '\nA kernel module, signed in place as the kernel'\''s build does it:\n'
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
if [ "$go" != "$(command -v go || true)" ]; then
	printf 'The Go that built it: make GO=%s, make test GO=%s.\n' "$go" "$go"
fi
