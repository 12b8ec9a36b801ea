"""The page behind nginx over TLS, with the configuration that docs/reverse-proxy.md shows."""

import base64
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from free_port import free_port

from device.sinks.web import Web

ROOT = Path(__file__).parents[4]
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(
        not all(map(shutil.which, ("nginx", "openssl", "htpasswd"))),
        reason="needs nginx, openssl and htpasswd: apt install nginx-light openssl apache2-utils",
    ),
]


@pytest.fixture
def web(serve: Callable[..., Web]) -> Web:
    return serve(hosts=("camera.example",))


@pytest.fixture
def proxy(web: Web, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx that runs the document's configuration, with files and ports of this test."""
    document = (ROOT / "docs" / "reverse-proxy.md").read_text()
    shown = re.search(r"```nginx\n(.*?)```", document, re.DOTALL)
    assert shown is not None
    port = free_port()
    site = shown[1].replace("/etc/nginx/", f"{tmp_path}/").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = site.replace("http://127.0.0.1:8080", web.url)
    make = re.search(r"sudo (openssl req.*?)\n   ```", document, re.DOTALL)
    assert make is not None
    line = make[1].replace("\\\n", " ").replace("/etc/nginx/", f"{tmp_path}/").split()
    subprocess.run(line, check=True, capture_output=True, timeout=30)
    users = f"{tmp_path}/deblurkit.users"
    subprocess.run(["htpasswd", "-cBb", users, "me", "secret"], check=True, capture_output=True, timeout=30)
    tmp_path.chmod(0o755)
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/errors; user root; daemon off; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {folders}\n{site}\n}}"
    )
    process = subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
    try:
        end = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def asked(
    port: int, folder: Path, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """A request as a browser that trusts this certificate sends it."""
    trusting = ssl.create_default_context(cafile=str(folder / "deblurkit.crt"))
    connection = http.client.HTTPSConnection("camera.example", port, timeout=10, context=trusting)
    connection.sock = trusting.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="camera.example")
    login = {"Authorization": f"Basic {base64.b64encode(b'me:secret').decode()}"}
    connection.request(method, path, body, {**login, **{k.replace("_", "-"): v for k, v in headers.items()}})
    return connection.getresponse()


def test_the_page_its_state_and_its_controls_pass_the_proxy_with_the_password_only(
    proxy: int, loop: object, tmp_path: Path
) -> None:
    assert asked(proxy, tmp_path, "/", Authorization="").status == 401
    page = asked(proxy, tmp_path, "/")
    assert page.status == 200
    assert "sha256-" in page.headers["Content-Security-Policy"]
    assert asked(proxy, tmp_path, "/state").status == 200
    own = {"Origin": f"https://camera.example:{proxy}", "Content_Type": "application/json", "Sec_Fetch_Site": "same-origin"}
    assert asked(proxy, tmp_path, "/reload", "POST", b"{}", **own).status == 202
    assert loop.asked == ["reload"]  # type: ignore[attr-defined]
    own["Origin"] = "https://evil.example"
    assert asked(proxy, tmp_path, "/reload", "POST", b"{}", **own).status == 403


def test_a_stream_passes_the_proxy_frame_by_frame(proxy: int, web: Web, frame: Callable, tmp_path: Path) -> None:
    response = asked(proxy, tmp_path, "/stream?view=both")
    assert response.status == 200
    for i in range(5):  # each is written only after the one before was read: the proxy buffers nothing
        web.write(frame(i))
        data = b""
        while data.count(b"\xff\xd9") < 2:
            data += response.read1(65536)
        assert f"X-Index: {i}".encode() in data
