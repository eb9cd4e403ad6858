# sign-file: build, test, bench, lint, install.
#
# Keys on tokens need cgo, which Go turns on where there is a C compiler; the rest of
# the program needs no C: make static. urfave_cli_no_docs leaves out a Markdown
# renderer whose start-up would cost every run 0.4 ms.

export GO ?= go
PREFIX  ?= /usr/local
bindir  ?= $(PREFIX)/bin
datadir ?= $(PREFIX)/share
mandir  ?= $(datadir)/man
docdir  ?= $(datadir)/doc/sign-file
hookdir ?= $(datadir)/sign-file
includedir ?= $(PREFIX)/include
bashcompletiondir ?= $(datadir)/bash-completion/completions
fishcompletiondir ?= $(datadir)/fish/vendor_completions.d
zshcompletiondir  ?= $(datadir)/zsh/site-functions
DESTDIR ?=
# Go's linker's own, on make's command line alone: LDFLAGS in the environment, where every
# packaging tool has them, are those of a C linker. cgo takes them as CGO_LDFLAGS.
LDFLAGS = -s -w
# A distribution's hardened build: make BUILDMODE=pie LDFLAGS='-s -w -bindnow'. It takes
# a C compiler, as a static program can't be moved (docs/distribution.md).
BUILDMODE = exe
VERSION ?= $(shell tools/version)
COMMIT  ?= $(shell tools/version --commit)
# Go's own record of the commit is left out: it ends the build where git refuses the
# repository, one of another owner's in packaging, and a tarball has none.
STAMP    = -X sign-file/internal/cli.release=$(VERSION) -X sign-file/internal/cli.commit=$(COMMIT)
TAGS    := urfave_cli_no_docs,netgo,osusergo
comma   := ,
SCRIPTS := try.sh packaging/common packaging/build packaging/tarball packaging/oss-fuzz/build.sh packaging/rpm/brp-sign-modules .github/actions/sign-modules/sign \
           $(wildcard packaging/deb/* examples/*) .ci/run testdata/vectors/generate.sh \
           $(filter-out tools/manual tools/pictures,$(wildcard tools/*)) $(wildcard test/*.sh test/kernel/*.sh test/bpf/*.sh)

.PHONY: build static man check test test-tree test-kernel test-bpf race lint vuln bpf fuzz bench packages tarball test-packages cross pictures install uninstall clean timing

build: export RELEASE  = $(VERSION)
build: export REVISION = $(COMMIT)
build: man
	@case $$RELEASE/$$REVISION in *[!0-9A-Za-z.+~_/-]* | /* | */) \
	  echo 'make: no usable VERSION and COMMIT: letters, digits and .+~_- make them' >&2; exit 1 ;; \
	esac
	$(GO) build -trimpath -buildvcs=false -buildmode=$(BUILDMODE) -tags $(TAGS) -ldflags '$(LDFLAGS) $(STAMP)' -o sign-file .

# The manual pages, out of man/ and the table of commands, on whatever machine this is.
man:
	rm -rf man/pages
	$(if $(GOARCH),GOOS= GOARCH= CC= CGO_ENABLED=0) $(GO) run -tags $(TAGS) ./tools/manual man/pages

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

# Signed BPF programs in booted kernels, 6.18 and 7.3, and on 7.3 why they do not keep a gate; with BITS=1 every bit of a message,
# and else a sample. BPF_TOOLS is where tools.sh puts what makes and compiles skeletons; it
# fetches 170 MB.
BITS      ?= 1
BPF_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sign-file/bpf-tools
test-bpf:
	test/kernel/fetch.sh 6.18 7.3
	test/bpf/tools.sh '$(BPF_TOOLS)'
	SIGN_FILE_TEST_KERNEL=1 SIGN_FILE_TEST_KERNELS='6.18 7.3' SIGN_FILE_TEST_BITS=$(BITS) SIGN_FILE_BPF_TOOLS='$(BPF_TOOLS)' \
	  $(GO) test -count=1 -timeout 1h -tags $(TAGS) -v ./test/bpf
	SIGN_FILE_TEST_KERNEL=1 SIGN_FILE_TEST_KERNELS=7.3 $(GO) test -count=1 -timeout 1h -tags $(TAGS) -v ./test/gate

race:
	CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) ./...

# staticcheck.conf says which of its checks are on. Without cgo nothing uses what reads
# PKCS#11 URIs.
lint:
	@files=$$(find . -name vendor -prune -o -name '*.go' -exec gofmt -l {} +) && test -z "$$files" || \
	  { echo 'not formatted as gofmt does it:'; echo "$$files"; exit 1; } >&2
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

# Each fuzz target beside the code for FUZZTIME, in runs and not in seconds: Go before 1.27 may report
# the end of a time as "context deadline exceeded", a failure (go.dev/issue/75804).
# Making one input smaller may take a second, not the minute that is go's default.
FUZZTIME ?= 100000x
fuzz:
	@grep -rl --include='*_test.go' --exclude-dir=fuzz 'func Fuzz' . | while read -r file; do \
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
	$(GO) run ./tools/pictures docs/pictures

# What "make" or "make static" has built, by whoever it was, with the same modes under any
# umask. Documents keep their places to each other, so that their links lead somewhere; the
# hooks are data, which packages and builds use, and the documents have a link to them. What
# names a package's folders, in /usr, names those that are meant here.
LINKS := extract-cert kmodsign
HOOKS := akmods arch debhelper dkms docker nixos rpm yocto
HOOK_FILES = $(wildcard $(addsuffix /*,$(addprefix packaging/,$(HOOKS))))
DOCS = NEWS.md SECURITY.md LICENSE $(wildcard LICENSES/* docs/*.* docs/pictures/* examples/* bpf/example/*.c) \
       gate/reader/sign_file_gate.h $(wildcard gate/reader/example/bpf/*.c) gate/testdata/signed/flows.bpf.c \
       $(shell find testdata/vectors -type f)
MOVE = sed -i 's,/usr/share/sign-file,$(hookdir),g; s,/usr/share/doc/sign-file,$(docdir),g; s,/usr/bin/sign-file,$(bindir)/sign-file,g'
# Folders that a command line could take apart are refused, and those that it could lose.
FOLDERS := PREFIX bindir datadir mandir docdir hookdir includedir bashcompletiondir fishcompletiondir zshcompletiondir
.PHONY: folders
folders:
	$(foreach name,$(FOLDERS),$(if $($(name)),,$(error $(name) is empty)))
	$(foreach name,$(FOLDERS) DESTDIR,$(if $(filter-out 1,$(words x$($(name))x)),$(error $(name) has white space in it: $($(name)))))

install: folders
	@test -x sign-file -a -d man/pages || { echo 'make install: no sign-file: run make first' >&2; exit 1; }
	install -D -m 0755 sign-file $(DESTDIR)$(bindir)/sign-file
	install -D -m 0644 -t $(DESTDIR)$(mandir)/man1 man/pages/*.1
	$(MOVE) $(DESTDIR)$(mandir)/man1/sign-file.1
	rm -f $(DESTDIR)$(mandir)/man1/kmodsign.1
	echo '.so man1/sign-file.1' > $(DESTDIR)$(mandir)/man1/kmodsign.1
	chmod 0644 $(DESTDIR)$(mandir)/man1/kmodsign.1
	install -D -m 0644 internal/cli/completion/bash $(DESTDIR)$(bashcompletiondir)/sign-file
	install -D -m 0644 internal/cli/completion/fish $(DESTDIR)$(fishcompletiondir)/sign-file.fish
	install -D -m 0644 internal/cli/completion/zsh $(DESTDIR)$(zshcompletiondir)/_sign-file
	for link in $(LINKS); do \
	  ln -sfT sign-file $(DESTDIR)$(bindir)/$$link && \
	  ln -sfT sign-file $(DESTDIR)$(bashcompletiondir)/$$link && \
	  ln -sfT sign-file.fish $(DESTDIR)$(fishcompletiondir)/$$link.fish || exit 1; \
	done
	install -D -m 0644 gate/reader/sign_file_gate.h $(DESTDIR)$(includedir)/sign_file_gate.h
	@for file in $(DOCS); do \
	  mode=0644 && if [ -x $$file ]; then mode=0755; fi && \
	  install -D -m $$mode $$file $(DESTDIR)$(docdir)/$$file || exit 1; \
	  case $$file in *.md) $(MOVE) $(DESTDIR)$(docdir)/$$file || exit 1 ;; esac; \
	done
	@for file in $(HOOK_FILES); do \
	  to=$(DESTDIR)$(hookdir)/$${file#packaging/} mode=0644 && if [ -x $$file ]; then mode=0755; fi && \
	  install -D -m $$mode $$file $$to && \
	  $(MOVE) $$to || exit 1; \
	done
	ln -sfrT $(DESTDIR)$(hookdir) $(DESTDIR)$(docdir)/packaging

# Only what "make install" of this source puts there: other programs' pages may have names
# like these, a docdir may be shared, and kmodsign may be another's by now.
uninstall: folders
	for link in $(LINKS); do \
	  for path in $(DESTDIR)$(bindir)/$$link $(DESTDIR)$(bashcompletiondir)/$$link $(DESTDIR)$(fishcompletiondir)/$$link.fish; do \
	    case $$(readlink $$path) in sign-file | sign-file.fish) rm -f $$path ;; esac; \
	  done; \
	done
	rm -f $(DESTDIR)$(bindir)/sign-file $(DESTDIR)$(includedir)/sign_file_gate.h $(DESTDIR)$(bashcompletiondir)/sign-file \
	  $(DESTDIR)$(fishcompletiondir)/sign-file.fish $(DESTDIR)$(zshcompletiondir)/_sign-file \
	  $(addprefix $(DESTDIR)$(mandir)/man1/,$(notdir $(wildcard man/*.1)))
	! grep -qsx '.so man1/sign-file.1' $(DESTDIR)$(mandir)/man1/kmodsign.1 || rm -f $(DESTDIR)$(mandir)/man1/kmodsign.1
	! test -L $(DESTDIR)$(docdir)/packaging || rm -f $(DESTDIR)$(docdir)/packaging
	! cd $(DESTDIR)$(docdir) 2>/dev/null || { rm -f $(DOCS) && rmdir -p --ignore-fail-on-non-empty $(sort $(dir $(filter-out %.md LICENSE,$(DOCS)))) || :; }
	! cd $(DESTDIR)$(hookdir) 2>/dev/null || { rm -f $(HOOK_FILES:packaging/%=%) && rmdir --ignore-fail-on-non-empty $(HOOKS) || :; }
	rmdir --ignore-fail-on-non-empty $(DESTDIR)$(docdir) $(DESTDIR)$(hookdir) || :

# The packages of docs/distribution.md, and the release's source with all modules that it
# is made of, in dist/. ARCHS=amd64 is quicker.
ARCHS ?= amd64 arm64
packages:
	packaging/build dist $(ARCHS)

tarball:
	packaging/tarball dist

# Package test/packages against dpkg, rpm and lintian: a clean Debian in which the packages
# are installed and removed, arm64 emulated, and all built once more in another folder.
# RUN='TestPackages|TestTarball' leaves out the second build, which is the longest.
RUN ?= .
test-packages:
	SIGN_FILE_TEST_PACKAGES=1 $(GO) test -count=1 -timeout 30m -tags $(TAGS) -v -run '$(RUN)' ./test/packages

# The pictures of docs/, out of tools/pictures.
pictures:
	$(GO) run ./tools/pictures docs/pictures

# Whether it compiles for what nobody here has.
CROSS ?= 386 arm riscv64 s390x ppc64le loong64
cross:
	for arch in $(CROSS); do \
	  echo $$arch && GOOS=linux GOARCH=$$arch CGO_ENABLED=0 $(GO) build -tags $(TAGS) -o /dev/null . || exit 1; \
	done

clean:
	rm -rf sign-file man/pages dist

# Whether the time of an RSA signature tells anything of what it is made with: an
# indication, on a quiet machine, by hand.
timing:
	$(GO) test -count=1 -tags timing -run TestTiming -v ./internal/rsalanes
