# An example: inherit sign-modules, in a recipe of modules or of the kernel. Signs what the
# recipe has installed, with a key of the build host. Not run by a test.
#
#   SIGN_MODULES_HASH, SIGN_MODULES_KEY, SIGN_MODULES_CERT   local.conf sets the last two;
#                                                            the key may be pkcs11: or exec:
DEPENDS += "sign-file-native"
SIGN_MODULES_HASH ?= "sha512"
# The signature is behind the ELF file, where strip would remove it.
INHIBIT_PACKAGE_STRIP = "1"

sign_modules() {
    dir=${D}${nonarch_base_libdir}/modules
    sign-file sign --replace ${SIGN_MODULES_HASH} "${SIGN_MODULES_KEY}" "${SIGN_MODULES_CERT}" "$dir"
    sign-file verify --quiet --trusted "${SIGN_MODULES_CERT}" "$dir"
}
do_install[postfuncs] += "sign_modules"
# What a key signs must not come out of another machine's cache.
do_install[vardeps] += "SIGN_MODULES_HASH SIGN_MODULES_KEY SIGN_MODULES_CERT"
