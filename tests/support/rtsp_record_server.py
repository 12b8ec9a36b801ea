"""An RTSP server that accepts publishers like MediaMTX (GStreamer's server), on the loopback interface.

    /usr/bin/python3 rtsp_record_server.py PORT [USER:PASSWORD]

Prints its port, then serves forever. A stream published to `/live` can be read from `/view`.
"""

import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401

Gst.init(None)
_H264 = "video/x-h264,stream-format=avc,alignment=au"


class Relay:
    """Passes each picture of the publisher to all readers."""

    def __init__(self, begun: Any) -> None:
        self._readers: list[Any] = []
        self._caps: Any = None
        self._begun = begun

    def published(self, _factory: Any, media: Any) -> None:
        """A publisher connected."""
        sink = media.get_element().get_by_name("pictures")
        sink.connect("new-sample", self._picture)

    def _picture(self, sink: Any) -> Any:
        sample = sink.emit("pull-sample")
        if self._caps is None:  # readers need the stream's parameters, which are now known
            self._begun()
        self._caps = sample.get_caps()
        data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        self._readers = [r for r in self._readers if r.emit("push-buffer", Gst.Buffer.new_wrapped(data)) == Gst.FlowReturn.OK]
        return Gst.FlowReturn.OK

    def read(self, _factory: Any, media: Any) -> None:
        """A reader connected."""
        source = media.get_element().get_by_name("pictures")
        source.set_property("caps", self._caps)
        self._readers.append(source)


def factory(launch: str, configure: Any, mode: Any) -> Any:
    """One path of the server."""
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {launch} )")
    made.set_transport_mode(mode)
    made.set_shared(mode == GstRtspServer.RTSPTransportMode.PLAY)
    made.connect("media-configure", configure)
    if len(sys.argv) > 2:
        access = "viewer,media.factory.access=true,media.factory.construct=true"
        made.add_role_from_structure(Gst.Structure.new_from_string(access))
    return made


server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
# Opening a path for a reader waits for pictures in that connection's thread, not in the publisher's.
server.get_thread_pool().set_max_threads(8)
if len(sys.argv) > 2:
    user, _, password = sys.argv[2].partition(":")
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)
modes = GstRtspServer.RTSPTransportMode
record = f"rtph264depay name=depay0 ! {_H264} ! appsink name=pictures emit-signals=true sync=false"
play = "appsrc name=pictures is-live=true format=time do-timestamp=true ! rtph264pay name=pay0 config-interval=1"
relay = Relay(lambda: server.get_mount_points().add_factory("/view", factory(play, relay.read, modes.PLAY)))
server.get_mount_points().add_factory("/live", factory(record, relay.published, modes.RECORD))
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
