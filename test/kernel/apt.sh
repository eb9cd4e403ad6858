# Sourced by fetch.sh and build.sh: packages of all suites of Debian, from an apt state
# of its own in the cache, so the machine's package lists never see them.
#
# SIGN_FILE_KERNEL_CACHE   the cache, default ~/.cache/sign-file/kernels
# SIGN_FILE_DEBIAN_MIRROR  a Debian mirror, default: the one this machine's apt uses
#
# No root is needed.
# shellcheck shell=bash

cache=${SIGN_FILE_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sign-file/kernels}
apt=$cache/apt
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

mirror() {
	if [ -n "${SIGN_FILE_DEBIAN_MIRROR:-}" ]; then
		echo "$SIGN_FILE_DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016  # apt expands it
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | sed -n 1p
}

# apt_own runs an apt tool on the cache's own state. Options of the command line
# win over the machine's apt.conf, which may still say what proxy to use.
apt_own() {
	"$@" -q -o Dir::State="$apt/state" -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" \
		-o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root \
		-o Acquire::Languages=none
}

update() {
	local uri suite
	uri=$(mirror)
	[ -n "$uri" ] || die 'this machine has no Debian mirror: set SIGN_FILE_DEBIAN_MIRROR'
	[ -r "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	for suite in bookworm bookworm-backports trixie trixie-backports sid experimental; do
		echo "deb [signed-by=$keyring target=Packages] $uri $suite main"
	done >"$apt/sources.list"
	# A suite that went away is no reason to stop: the others may have the kernel.
	apt_own apt-get update || true
}
