#!/bin/bash
# Builds every fuzz target of the source, as OSS-Fuzz runs it, with what testing.F.Add gives
# it to begin with. compile_native_go_fuzzer is OSS-Fuzz's; with LIST=1 the targets are only
# listed, one a line: package, function and name.
set -euo pipefail
targets() {
	grep -rl --include='*_test.go' 'func Fuzz' . | sort | while read -r file; do
		package=$(dirname "$file")
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r function; do
			name=${package#./}
			echo "sign-file/$name $function fuzz_${name//\//_}_${function#Fuzz}"
		done
	done
}
if [ "${LIST:-}" ]; then
	targets
	exit
fi
go get github.com/AdamKorcz/go-118-fuzz-build/testing
targets | while read -r package function name; do
	compile_native_go_fuzzer "$package" "$function" "$name"
done
