"""The web page: the live picture before and after, the figures of the loop, and a few controls for viewers.

`page.html` is what a viewer sees, `stream.py` sends the pictures, `auth.py` decides who may see them, `routes.py` answers
requests, `server.py` and `request.py` handle the sockets.
"""

from device.controls import Controls
from device.images.frame import Restored
from device.settings import WebSettings
from device.sinks.web.auth import Auth
from device.sinks.web.latest_frame import LatestFrame
from device.sinks.web.routes import Routes
from device.sinks.web.server import Server
from device.sinks.web.token import kept_token, own_name, qr_code
from device.system.paths import state_folder
from device.telemetry import Telemetry


class Web:
    """A sink that serves the page. It encodes only while somebody watches, and never holds up the loop.

    Listens on the loopback interface; with `lan` on all interfaces, and asks for a token. Raises RunError if the port is in use.
    """

    def __init__(self, controls: Controls, telemetry: Telemetry, settings: WebSettings) -> None:
        token = kept_token(state_folder()) if settings.lan else None
        self._latest = LatestFrame(telemetry)
        routes = Routes(self._latest, controls, telemetry, settings.viewers, Auth(settings.hosts, token))
        self._server = Server("0.0.0.0" if settings.lan else "127.0.0.1", settings.port, routes.answer, routes.headers)
        host = own_name() if settings.lan else "127.0.0.1"
        self.url = f"http://{host}:{self._server.port}"
        """Without the token."""
        self.description = f"{self.url} (token in {state_folder() / 'token'})" if settings.lan else self.url
        """For logs and the state, which others may read: without the token."""
        self._entrance = f"{self.url}/?token={token}" if settings.lan else self.url

    def invitation(self) -> str:
        """The address to open, with the token; for the local network also as a QR code. For a terminal, never for a log."""
        return f"{self._entrance}\n{qr_code(self._entrance)}" if self._entrance != self.url else self.url

    def write(self, restored: Restored) -> None:
        """Show a frame: wakes all who wait for one."""
        self._latest.put(restored)

    def close(self) -> None:
        """Disconnect the viewers and free the port; closing twice is safe."""
        self._latest.close()
        self._server.close()
