#!/bin/sh
# Print the Debian mirror that this machine's apt uses, from either format of its sources. $DEBIAN_MIRROR overrides it.
# Ends with 77 and the reason if there is none.
set -eu
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "main" && $2 ~ /^(bookworm|trixie|forky|sid|stable|testing)$/ { print $3; exit }')}
[ -n "$mirror" ] || { echo "this machine's apt has no Debian mirror; set DEBIAN_MIRROR to the address of one" >&2; exit 77; }
echo "$mirror"
