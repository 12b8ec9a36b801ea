#!/bin/sh
# The servers that the tests use: GStreamer's RTSP server, and nginx as a reverse proxy. Debian's packages. Without root this
# prints the line to run, and the tests that need them are skipped.
set -eu
installed='import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import Gst; Gst.init(None)
raise SystemExit(not all(map(Gst.ElementFactory.find, ("videotestsrc", "x264enc", "rtph264pay"))))'
/usr/bin/python3 -c "$installed" 2>/dev/null && command -v nginx >/dev/null && command -v htpasswd >/dev/null && exit 0
"$(dirname "$0")/apt.sh" nginx-light apache2-utils openssl python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly || { [ "$(id -u)" != 0 ] && exit 0; exit 1; }
/usr/bin/python3 -c "$installed"
