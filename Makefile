# sign-file: build, test, bench, lint, install.
#
# Keys on tokens need cgo, which Go turns on where there is a C compiler; the rest of
# the program needs no C: make static. urfave_cli_no_docs leaves out a Markdown
# renderer whose start-up would cost every run 0.4 ms.

export GO ?= go
PREFIX  ?= /usr/local
bindir  ?= $(PREFIX)/bin
mandir  ?= $(PREFIX)/share/man
DESTDIR ?=
LDFLAGS ?= -s -w
# A distribution's hardened build: make BUILDMODE=pie LDFLAGS='-s -w -bindnow'. It takes
# a C compiler, as a static program can't be moved (docs/packaging.md).
BUILDMODE ?= exe
VERSION ?= $(shell tools/version)
COMMIT  ?= $(shell tools/version --commit)
# Go's own record of the commit is left out: it ends the build where git refuses the
# repository, one of another owner's in packaging, and a tarball has none.
STAMP   := -X sign-file/internal/cli.release=$(VERSION) -X sign-file/internal/cli.commit=$(COMMIT)
TAGS    := urfave_cli_no_docs,netgo,osusergo
comma   := ,
SCRIPTS := try.sh $(wildcard examples/*) .ci/run $(wildcard tools/* test/*.sh test/kernel/*.sh test/bpf/*.sh)

.PHONY: build static check test test-tree test-kernel test-bpf race lint vuln bpf fuzz bench install uninstall clean timing

build:
	$(GO) build -trimpath -buildvcs=false -buildmode=$(BUILDMODE) -tags $(TAGS) -ldflags '$(LDFLAGS) $(STAMP)' -o sign-file .

# Without keys on tokens, and without any shared library.
static:
	CGO_ENABLED=0 $(MAKE) build

# Before each commit, some seconds: lint, and the tests beside the code. Left out is
# only package test, which runs the built program for a minute.
check: lint
	$(GO) run ./test/run -tags $(TAGS) $$($(GO) list ./... | grep -v '/test$$')

# Every test. What a missing tool would judge is skipped and listed at the end, with the
# package to install for it, or fails if CI=true.
test:
	$(GO) vet -tags $(TAGS) ./...
	$(GO) run ./test/run -tags $(TAGS) ./...

# A whole kernel's modules, some 4,000, against the real sign-file.
TREE ?= all
test-tree:
	test/modules.sh
	SIGN_FILE_TREE=$(TREE) $(GO) test -tags $(TAGS) -run '^Test(SignTree|TwoPassTree)$$' ./test

# Package kernel against booted kernels, every one of the cache, which fetch.sh
# fills: 6.1 and 6.12 at the least. Emulated, so it needs no KVM, but minutes. The
# kernels that decompress gzip and zstd by themselves are build.sh's, when it was run.
MUTATIONS ?= 10000
test-kernel:
	test/kernel/fetch.sh $(KERNELS)
	SIGN_FILE_TEST_KERNEL=1 SIGN_FILE_TEST_KERNELS='$(KERNELS)' SIGN_FILE_TEST_MUTATIONS=$(MUTATIONS) \
	  $(GO) test -count=1 -timeout 2h -tags $(TAGS) -v ./test/kernel ./test/gate

# Signed BPF programs in booted kernels, 6.18 and 7.3; with BITS=1 every bit of a message,
# and else a sample. BPF_TOOLS is where tools.sh puts what makes and compiles skeletons; it
# fetches 170 MB.
BITS      ?= 1
BPF_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sign-file/bpf-tools
test-bpf:
	test/kernel/fetch.sh 6.18 7.3
	test/bpf/tools.sh '$(BPF_TOOLS)'
	SIGN_FILE_TEST_KERNEL=1 SIGN_FILE_TEST_KERNELS='6.18 7.3' SIGN_FILE_TEST_BITS=$(BITS) SIGN_FILE_BPF_TOOLS='$(BPF_TOOLS)' \
	  $(GO) test -count=1 -timeout 1h -tags $(TAGS) -v ./test/bpf

race:
	CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) ./...

# staticcheck.conf says which of its checks are on. Without cgo nothing uses what reads
# PKCS#11 URIs.
lint:
	@test -z "$$(gofmt -l .)" || { echo 'not formatted as gofmt does it:'; gofmt -l .; exit 1; } >&2
	$(GO) vet -tags $(TAGS) ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags $(TAGS) \
	  $(if $(filter 0,$(shell $(GO) env CGO_ENABLED)),-checks inherit$(comma)-U1000) ./...
	@if command -v shellcheck >/dev/null || [ "$$CI" = true ]; then \
	  echo shellcheck $(SCRIPTS) && shellcheck -x $(SCRIPTS); \
	else \
	  echo 'not checked for lack of shellcheck (package shellcheck): $(SCRIPTS)'; \
	fi

# Known vulnerabilities in what the program calls, its modules' and Go's own.
vuln:
	tools/vulncheck -tags $(TAGS) ./...

# The BPF objects that are committed are what clang makes of their sources.
bpf:
	tools/check-bpf

# Each fuzz target for FUZZTIME, in runs and not in seconds: Go before 1.27 may report
# the end of a time as "context deadline exceeded", a failure (go.dev/issue/75804).
# Making one input smaller may take a second, not the minute that is go's default.
FUZZTIME ?= 100000x
fuzz:
	@grep -rl --include='*_test.go' 'func Fuzz' . | while read -r file; do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file"); do \
	    echo "$$file $$target" && \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$(dirname "$$file")" || exit 1; \
	  done; \
	done

# Side by side with the real sign-file, with and without AVX-512 IFMA; the tables go to
# docs/bench.md too. BENCH=full runs everything five times as often. The newer sign-file of
# tools/debian-tools takes part where SIGN_FILE_NEWER_TOOLS names its folder bin.
bench: build
	test/modules.sh
	$(GO) run ./test/bench $(if $(filter full,$(BENCH)),-factor 5) | tee docs/bench.md

# What "make" or "make static" has built, by whoever it was.
install:
	@test -x sign-file || { echo 'make install: no sign-file: run make first' >&2; exit 1; }
	install -D -m 0755 sign-file $(DESTDIR)$(bindir)/sign-file
	ln -sf sign-file $(DESTDIR)$(bindir)/extract-cert
	ln -sf sign-file $(DESTDIR)$(bindir)/kmodsign
	install -D -m 0644 sign-file.1 $(DESTDIR)$(mandir)/man1/sign-file.1

uninstall:
	rm -f $(DESTDIR)$(bindir)/sign-file $(DESTDIR)$(bindir)/extract-cert $(DESTDIR)$(bindir)/kmodsign \
	  $(DESTDIR)$(mandir)/man1/sign-file.1

clean:
	rm -f sign-file

# Whether the time of an RSA signature tells anything of what it is made with: an
# indication, on a quiet machine, by hand.
timing:
	$(GO) test -count=1 -tags timing -run TestTiming -v ./internal/rsaifma
