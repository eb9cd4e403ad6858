# include /usr/share/sign-file/debhelper/sign-modules.mk
#
# in debian/rules, with a debhelper level of 10 or later, signs the modules of all packages
# that are built, Architecture: all too, after dh_strip, which would remove the signatures.
# The build ends unless the kernel that is meant would accept the signatures with that
# certificate, and if there is no module.
MODSIGN_HASH ?= sha512
MODSIGN_KEY  ?= $(error MODSIGN_KEY is not set)
MODSIGN_CERT ?= $(error MODSIGN_CERT is not set)
# A release, judged as Debian builds it, by default the newest that sign-file knows; or the
# path of a kernel's configuration. The kernel of the build machine is not asked.
MODSIGN_KERNEL ?= 7.0
# yes: a build that has no module is right, as where "dpkg-buildpackage -B" leaves out the
# package that has them.
MODSIGN_ALLOW_EMPTY ?=

# dh_strip is not run for Architecture: all. This is the next that is run for every package.
execute_before_dh_installdeb:
	$(if $(findstring pin-value=,$(MODSIGN_KEY)),$(error logs may show the PIN in MODSIGN_KEY: use pin-source, or KBUILD_SIGN_PIN))
	@set -e; found=; \
	for package in $$(dh_listpackages); do \
	  for dir in debian/$$package/lib/modules debian/$$package/usr/lib/modules; do \
	    [ -d "$$dir" ] || continue; \
	    case $$(realpath "$$dir") in \
	    "$$(realpath "debian/$$package")"/*) ;; \
	    *) echo "sign-modules.mk: $$dir is a link out of the package" >&2; exit 1 ;; \
	    esac; \
	    sign-file sign --replace $(MODSIGN_HASH) "$(MODSIGN_KEY)" "$(MODSIGN_CERT)" "$$dir"; \
	    sign-file verify --quiet $(if $(findstring /,$(MODSIGN_KERNEL)),--config,--kernel) "$(MODSIGN_KERNEL)" --trusted "$(MODSIGN_CERT)" "$$dir"; \
	    found=yes; \
	  done; \
	done; \
	if [ -z "$$found" ] && [ -z "$(MODSIGN_ALLOW_EMPTY)" ]; then \
	  echo 'sign-modules.mk: no modules in debian/*/lib/modules: MODSIGN_ALLOW_EMPTY=yes if that is right' >&2; exit 1; \
	fi
