#!/bin/bash
# Builds the targets of test/fuzz as OSS-Fuzz runs them. compile_native_go_fuzzer is in
# OSS-Fuzz's image. The other targets of the source are in external test packages, which it
# does not take (oss-fuzz issue 7923).
set -euo pipefail
go get github.com/AdamKorcz/go-118-fuzz-build/testing
sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' test/fuzz/fuzz_test.go | while read -r target; do
	compile_native_go_fuzzer sign-file/test/fuzz "$target" "fuzz_${target#Fuzz}"
done
