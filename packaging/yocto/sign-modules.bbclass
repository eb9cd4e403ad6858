# An example: inherit sign-modules, in a recipe of modules or of the kernel. Signs what the
# recipe has installed, with a key of the build host. Not run by a test.
#
#   SIGN_MODULES_HASH, SIGN_MODULES_KEY, SIGN_MODULES_CERT   local.conf sets the last two;
#                                                            the key may be pkcs11: or exec:
#   SIGN_MODULES_KERNEL   the kernel of the image: a release, or the path of its
#                         configuration, which says more
#
# There is no recipe of sign-file-native: yours builds the static program ("make static" in
# the release's tarball, with Go) and puts it in ${bindir}.
DEPENDS += "sign-file-native"
SIGN_MODULES_HASH ?= "sha512"
SIGN_MODULES_KERNEL ?= "7.0"
# The signature is behind the ELF file, where strip would remove it.
INHIBIT_PACKAGE_STRIP = "1"

sign_modules() {
    dir=${D}${nonarch_base_libdir}/modules
    sign-file sign --replace ${SIGN_MODULES_HASH} "${SIGN_MODULES_KEY}" "${SIGN_MODULES_CERT}" "$dir"
    case ${SIGN_MODULES_KERNEL} in
    */*) judge=--config ;;
    *) judge=--kernel ;;
    esac
    sign-file verify --quiet $judge "${SIGN_MODULES_KERNEL}" --trusted "${SIGN_MODULES_CERT}" "$dir"
}
do_install[postfuncs] += "sign_modules"
# What a key signs must not come out of another machine's cache.
do_install[vardeps] += "SIGN_MODULES_HASH SIGN_MODULES_KEY SIGN_MODULES_CERT"
