#!/bin/sh
# The servers that tests talk to, from the system's own packages: GStreamer's for RTSP, nginx as a reverse proxy. Without root
# it says how, and those tests skip.
set -eu
there='import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import Gst; Gst.init(None)
raise SystemExit(not all(map(Gst.ElementFactory.find, ("videotestsrc", "x264enc", "rtph264pay"))))'
/usr/bin/python3 -c "$there" 2>/dev/null && command -v nginx >/dev/null && command -v htpasswd >/dev/null && exit 0
packages="nginx-light apache2-utils openssl python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # Other scripts may be installing too: wait for their lock.
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $packages >/dev/null
    /usr/bin/python3 -c "$there"
else
    echo "no RTSP server or no nginx: their tests will be skipped; sudo apt install $packages" >&2
fi
