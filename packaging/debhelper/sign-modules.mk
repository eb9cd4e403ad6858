# include /usr/share/doc/sign-file/packaging/debhelper/sign-modules.mk
#
# in debian/rules, with a debhelper level of 10 or later, signs the modules of all packages
# after dh_strip, which would remove the signatures, and ends the build unless a kernel
# would accept them with that certificate.
MODSIGN_HASH ?= sha512
MODSIGN_KEY  ?= $(error MODSIGN_KEY is not set)
MODSIGN_CERT ?= $(error MODSIGN_CERT is not set)

execute_after_dh_strip:
	for dir in $(wildcard debian/*/lib/modules debian/*/usr/lib/modules); do \
	  sign-file sign --replace $(MODSIGN_HASH) "$(MODSIGN_KEY)" "$(MODSIGN_CERT)" $$dir && \
	  sign-file verify --quiet --trusted "$(MODSIGN_CERT)" $$dir || exit 1; \
	done
