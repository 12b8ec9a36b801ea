"""An RTSP network camera (GStreamer's server) on the loopback interface. Prints its port, then serves forever.

    /usr/bin/python3 rtsp_server.py PORT WIDTHxHEIGHT [USER:PASSWORD]

`/cam` is H.264 at 30 fps with a key frame every second: colour bars, and noise in a corner. `/sound` has no video.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
width, height = sys.argv[2].split("x")
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
if len(sys.argv) > 3:
    user, _, password = sys.argv[3].partition(":")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
for path, launch in (
    (
        "/cam",
        f"videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 "
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! rtph264pay name=pay0 config-interval=1",
    ),
    ("/sound", "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0"),
):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {launch} )")
    factory.set_shared(True)
    if len(sys.argv) > 3:
        factory.add_role_from_structure(
            Gst.Structure.new_from_string("viewer,media.factory.access=true,media.factory.construct=true")
        )
    server.get_mount_points().add_factory(path, factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
