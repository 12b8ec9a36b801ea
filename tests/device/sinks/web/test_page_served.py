"""The page as served: in the network with its token, and by the command, which is killed and restarted."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from free_port import free_port
from page_parts import BROWSER, SHARPNESS, Open

from device.sinks.web import Web

pytestmark = BROWSER

ROOT = Path(__file__).parents[4]


def test_in_the_network_the_address_with_the_token_opens_the_page_and_the_token_leaves_the_address_bar(
    serve: Callable[..., Web], frame: Callable, visit: Open
) -> None:
    web = serve(lan=True)
    web.write(frame(55, (120, 160)))
    own = f"http://127.0.0.1:{web.url.rpartition(':')[2]}/"
    watched = visit(own + web.invitation().splitlines()[0].partition("/?")[2].join(("?", "")))
    watched.shows(200)
    assert watched.page.url == own
    assert "token" not in watched.page.evaluate("document.cookie")
    assert watched.complaints == []
    outside = visit("data:text/html," + f"<a href='{web.invitation().splitlines()[0].replace(web.url + '/', own)}'>open</a>")
    outside.page.click("a")  # from another site: the strict cookie must work there too
    outside.shows(200)


def test_without_the_token_the_page_says_how_to_get_in(serve: Callable[..., Web], visit: Open) -> None:
    web = serve(lan=True)
    watched = visit(f"http://127.0.0.1:{web.url.rpartition(':')[2]}/")
    assert "deblurkit run --lan" in watched.page.inner_text("body")


class Command:
    """`deblurkit run --source demo --sink web` as a process of its own, at one port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
        line = [
            sys.executable,
            "-m",
            "deblurkit",
            "run",
            "--source",
            "demo",
            "--sink",
            "web",
            "--port",
            str(self.port),
            "--quiet",
        ]
        self._process = subprocess.Popen([*line, "--quiet"], cwd=ROOT, env=environment)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}snapshot", timeout=10).close()
                return
            time.sleep(0.1)
        raise AssertionError("the server did not start within a minute")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def command_line() -> Iterator[Command]:
    command = Command()
    command.start()
    yield command
    command.kill()


def test_the_page_of_the_command_reconnects_after_the_process_was_killed_and_restarted(
    command_line: Command, visit: Open
) -> None:
    watched = visit(command_line.url)

    def moves() -> None:
        watched.page.wait_for_function("() => drawnAt.length > 0")
        seen = watched.page.evaluate("() => shown.captured")
        watched.page.wait_for_function("seen => shown.captured !== seen", arg=seen)

    moves()
    blurred, restored = (watched.page.evaluate(SHARPNESS, name) for name in ("before", "after"))
    assert restored > 1.1 * blurred  # the restored picture is on the right
    watched.page.wait_for_function("() => parseFloat(document.getElementById('fps').textContent) > 0")
    assert watched.complaints == []
    command_line.kill()
    watched.says("live", "connection lost")
    watched.says("notice", "Connection lost")
    assert watched.page.locator("#stage.stale").count() == 1
    command_line.start()
    watched.says("live", "live")
    moves()
    assert watched.page.locator("#stage.stale").count() == 0
    assert all(url.startswith((command_line.url, "data:")) for url in watched.asked)
