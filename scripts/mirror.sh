#!/bin/sh
# Print the Debian mirror that this machine's apt is set up for, in either form of its sources; $DEBIAN_MIRROR goes before it.
# Ends with 77 and a reason where there is none.
set -eu
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "main" && $2 ~ /^(bookworm|trixie|forky|sid|stable|testing)$/ { print $3; exit }')}
[ -n "$mirror" ] || { echo "no Debian mirror among this machine's apt sources; set DEBIAN_MIRROR" >&2; exit 77; }
echo "$mirror"
