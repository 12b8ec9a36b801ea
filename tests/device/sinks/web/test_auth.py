"""Which requests are accepted: host names, pages of other sites, and the token of a page in the network."""

import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.sinks.web import Web, token
from device.sinks.web.auth import _MOST_GUESSERS, Auth
from device.sinks.web.request import Refused, Request
from device.sinks.web.token import kept_token, own_name, qr_code
from device.system.paths import state_folder

pytestmark = pytest.mark.timeout(60)
READ = ("/", "/stream", "/snapshot", "/state", "/metrics", "/healthz")
ASKED = ("/switch", "/reload", "/record")


@pytest.fixture
def lan_web(serve: Callable[..., Web]) -> Web:
    return serve(lan=True)


def token_of(web: Web) -> str:
    return web.invitation().splitlines()[0].partition("?token=")[2]


# Names


@pytest.mark.parametrize("path", [*READ, *ASKED, "/nothing"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "10.1.2.3", "", "a@localhost", "localhost/x", "["],
)
def test_a_foreign_host_name_is_refused_at_every_address(web: Web, get: Callable, path: str, host: str) -> None:
    method = "POST" if path in ASKED else "GET"
    assert get(web, path, method, b"{}" if method == "POST" else None, Host=host)[0].status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "localhost.", "127.0.0.1:80", "[::1]:8080"])
def test_the_names_of_this_machine_are_accepted_with_any_port(web: Web, get: Callable, host: str) -> None:
    assert get(web, "/state", Host=host)[0].status == 200


def test_further_names_come_from_the_settings(serve: Callable[..., Web], get: Callable) -> None:
    web = serve(hosts=("Camera.example",))
    assert get(web, "/state", Host="camera.example")[0].status == 200
    assert get(web, "/state", Host="other.example")[0].status == 421


def test_in_the_network_only_the_address_and_name_of_the_machine_are_accepted(lan_web: Web) -> None:
    import socket

    auth: Auth = lan_web._server._answer.__self__._auth  # type: ignore[attr-defined]
    name = socket.gethostname().lower().partition(".")[0]
    assert {name, f"{name}.local", "localhost"} <= auth._names | {socket.gethostname().lower()}
    assert "evil.example" not in auth._names


# Other sites' pages


@pytest.mark.parametrize("path", [*READ, *ASKED])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://localhost:1"},
        {"Origin": "file://"},
        {"Origin": "["},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_a_page_of_another_site_reads_nothing_and_changes_nothing(
    web: Web, loop: Any, get: Callable, path: str, headers: dict[str, str]
) -> None:
    method = "POST" if path in ASKED else "GET"
    body = b"{}" if method == "POST" else None
    assert get(web, path, method, body, Content_Type="application/json", **headers)[0].status == 403
    assert loop.asked == []


def test_a_link_on_another_site_opens_the_page_and_nothing_else(web: Web, get: Callable) -> None:
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert get(web, "/", **followed)[0].status == 200
    assert get(web, "/snapshot", **followed)[0].status == 403


def test_requests_of_the_page_itself_and_of_programs_are_accepted(web: Web, loop: Any, get: Callable) -> None:
    port = web.url.rpartition(":")[2]
    own = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}", "Sec_Fetch_Site": "same-origin"}
    assert get(web, "/reload", "POST", b"{}", Content_Type="application/json", **own)[0].status == 202
    assert get(web, "/reload", "POST", b"{}", Content_Type="application/json")[0].status == 202
    assert loop.asked == ["reload", "reload"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_content_types_of_plain_forms_are_refused(web: Web, loop: Any, get: Callable, kind: str) -> None:
    assert get(web, "/reload", "POST", b"{}", Content_Type=kind)[0].status == 415
    assert loop.asked == []


# The token


@pytest.mark.parametrize("path", [path for path in READ if path != "/healthz"] + list(ASKED))
def test_without_the_token_the_network_reads_nothing(lan_web: Web, loop: Any, get: Callable, frame: Callable, path: str) -> None:
    lan_web.write(frame(0))
    method = "POST" if path in ASKED else "GET"
    for headers in ({}, {"Cookie": "deblurkit=wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic wrong"}):
        response, body = get(
            lan_web, path, method, b"{}" if method == "POST" else None, Content_Type="application/json", **headers
        )
        assert response.status == 401
        assert b"--lan" in body
    assert loop.asked == []


def test_health_needs_no_token_but_gives_no_details_without_it(lan_web: Web, loop: Any, get: Callable) -> None:
    loop.overrides = {"healthy": False, "health": "rtsp://camera.example: no frame"}
    response, body = get(lan_web, "/healthz")
    assert (response.status, body) == (503, b"not healthy\n")
    assert b"camera.example" in get(lan_web, "/healthz", Authorization=f"Bearer {token_of(lan_web)}")[1]


def test_the_address_with_the_token_sets_a_cookie_and_leads_on_to_the_page_without_it(lan_web: Web, get: Callable) -> None:
    token = token_of(lan_web)
    response, body = get(lan_web, f"/?token={token}")
    assert response.status == 200
    assert b'content="0;url=./"' in body
    assert token.encode() not in body
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    for path in ("/", "/state", "/metrics"):
        assert get(lan_web, path, Cookie=f"other=1; {cookie.split(';')[0]}")[0].status == 200
        assert get(lan_web, path, Authorization=f"Bearer {token}")[0].status == 200
    assert b"./?kiosk" in get(lan_web, f"/?token={token}&kiosk")[1]


def test_the_token_in_the_address_is_accepted_for_the_page_only(lan_web: Web, get: Callable) -> None:
    assert get(lan_web, f"/state?token={token_of(lan_web)}")[0].status == 401


def test_a_wrong_cookie_is_deleted(lan_web: Web, get: Callable) -> None:
    assert "Max-Age=0" in get(lan_web, "/", Cookie="deblurkit=old")[0].headers["Set-Cookie"]


def test_after_too_many_wrong_tokens_an_address_is_refused_for_a_while_and_memory_stays_bounded() -> None:
    auth = Auth((), "the token")

    def guess(address: str, token: str) -> bool:
        return auth.has_token(Request("GET", "/state", {}, {"authorization": f"Bearer {token}"}), address)

    for i in range(2 * _MOST_GUESSERS):
        assert not guess(f"10.0.{i // 256}.{i % 256}", "wrong")
    assert len(auth._guesses) == _MOST_GUESSERS
    for _ in range(10):
        assert not guess("10.9.9.9", "wrong")
    with pytest.raises(Refused) as refused:
        guess("10.9.9.9", "the token")  # not even the right one
    assert refused.value.status == 429
    assert guess("10.9.9.8", "the token")


def test_a_guesser_behind_a_reverse_proxy_of_this_machine_does_not_lock_out_the_others(lan_web: Web, get: Callable) -> None:
    for _ in range(30):
        assert get(lan_web, "/state", Authorization="Bearer wrong")[0].status == 401
    assert get(lan_web, "/state", Authorization=f"Bearer {token_of(lan_web)}")[0].status == 200


def test_the_token_is_in_no_log_and_in_nothing_that_others_can_read(
    serve: Callable[..., Web], get: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        web = serve(lan=True)
        token = token_of(web)
        assert len(token) == 43
        get(web, f"/?token={token}")
        get(web, f"/nothing?token={token}")
        get(web, "/state", Authorization=f"Bearer {token}")
    assert token not in caplog.text
    assert token not in web.description
    assert token not in web.url


def test_the_token_is_readable_by_its_user_only_and_survives_a_restart(serve: Callable[..., Web], tmp_path: Path) -> None:
    first = serve(lan=True)
    token = token_of(first)
    first.close()
    kept = tmp_path / "state" / "token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == token
    assert token_of(serve(lan=True)) == token
    assert os.listdir(kept.parent) == ["token"]  # no temporary file is left


@pytest.mark.parametrize("spoilt", [b"", b"short\n", b"\xff" * 60, b"a" * 100_000])
def test_an_invalid_token_is_replaced_and_access_to_the_file_is_restricted(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "token").write_bytes(spoilt)
    token = kept_token(tmp_path)
    assert len(token) == 43
    assert kept_token(tmp_path) == token
    (tmp_path / "token").chmod(0o644)
    assert kept_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_if_the_token_cannot_be_stored_there_is_one_for_this_run_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert kept_token(tmp_path / "file") != kept_token(tmp_path / "file")
    assert "STATE_DIRECTORY" in caplog.text


def test_two_processes_that_start_at_once_agree_on_one_token(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(kept_token(tmp_path / "new"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1


def test_the_state_folder_is_systemds_else_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/deblurkit:/var/lib/other")
    assert state_folder() == Path("/var/lib/deblurkit")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert state_folder() == Path("/home/somebody/state/deblurkit")


def test_the_invitation_is_a_working_address_and_its_qr_code(lan_web: Web, get: Callable) -> None:
    address, *code = lan_web.invitation().splitlines()
    assert address.startswith(f"http://{own_name()}:")
    assert get(lan_web, "/?" + address.partition("?")[2])[0].status == 200
    if token.qr_code(address):
        assert len(code) > 10
        assert qr_code(address) == "\n".join(code) + "\n"
