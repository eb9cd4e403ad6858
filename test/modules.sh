#!/bin/sh
# Fetches the modules of Debian's kernel, some 4,000, as they are before Debian
# signs them, and prints their folder. They are kept in a cache and fetched once.
#
# SIGN_FILE_MODULES  the folder, default ~/.cache/sign-file/modules
#
# No root is needed.
set -eu

dir=${SIGN_FILE_MODULES:-${XDG_CACHE_HOME:-$HOME/.cache}/sign-file/modules}
if [ ! -d "$dir" ]; then
	package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
	mkdir -p "$(dirname "$dir")"
	new=$(mktemp -d "$dir.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	(cd "$new" && apt-get download -q "$package-unsigned" >&2)
	dpkg-deb -x "$new"/*.deb "$new/root"
	# Debian 13 ships them compressed, and below /usr.
	find "$new/root" -name '*.ko.xz' -exec xz -d {} +
	mv "$(find "$new/root" -path '*/lib/modules' -prune)" "$dir"
fi
echo "$dir"
