"""The requests that a board answers: deploy a release, roll back to the one before, check what runs."""

import fcntl
import json
import os
import shutil
import signal
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import Any

from device.deploy.board import environment, receive
from device.deploy.board.activate import (
    activate,
    describe,
    installed_program,
    is_healthy,
    last_log_lines,
    report,
    service_status,
)
from device.deploy.board.channel import SILENCE_S, Channel, ConnectionLost
from device.deploy.board.paths import CONFIG, CURRENT, HOME, PREVIOUS, SIGNERS, Refused, linked_release


def main(stream: BufferedReader) -> int:
    """Answer the request in the stream; returns the exit code.

    Until the switch a lost connection ends the work. From then on it continues alone: a board is never left between two releases.
    """
    os.umask(0o022)  # the service's own user must be able to read all of it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel = Channel(stream)
    try:
        channel.send(result=_ACTIONS[channel.request["action"]](channel))
    except Refused as reason:
        channel.send(refused=str(reason), code=reason.code, **reason.facts)
        return reason.code
    except ConnectionLost:
        channel.send(refused="the connection was lost; what ran before still runs", code=1)  # in case somebody still listens
        return 1
    except OSError as error:
        failed = f"{error.filename or HOME} on the board: {error.strerror}; the running release was not changed; see `df -h`"
        channel.send(refused=failed, code=1)
        return 1
    return 0


def check(channel: Channel) -> dict[str, Any]:
    """The state of what runs. Changes nothing. Raises Refused if it is not healthy."""
    _check_lan(channel.request.get("lan", False))
    status = service_status(installed_program())
    if not is_healthy(status):
        message = f"this release is installed but not healthy: {describe(status)}; deploy --again installs it again"
        raise Refused(message, log=last_log_lines())
    return {**report(status), "release": linked_release(CURRENT)}


def deploy(channel: Channel) -> dict[str, Any]:
    """Receive a release, verify it, install it and switch to it."""
    name = receive.safe_name(channel.request["id"])
    with exclusive():
        for left_over in (HOME / "releases").glob(".part-*"):
            channel.send(f"removing {left_over.name}, left over from an interrupted deploy")
            shutil.rmtree(left_over, ignore_errors=True)
        part = HOME / "releases" / f".part-{name}"
        try:
            receive.receive(channel, part, channel.request["files"])
            channel.send(receive.verify(part))
            release = json.loads((part / "release.json").read_bytes())
            if release["id"] != name:
                raise Refused(f"announced was {name}, received was {release['id']}; deploy again")
            _check_lan(release["lan"])
            environment.build(channel, part, release)
            channel.wait_for_heartbeat()
            if receive.keep_key(part):
                channel.send(f"its key is now in {SIGNERS}: from now on this board accepts only releases signed with it")
            final = environment.finish(part)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return activate(channel, final, new=True)


def rollback(channel: Channel) -> dict[str, Any]:
    """Switch to the release before."""
    with exclusive():
        name = linked_release(PREVIOUS)
        if name is None or not (HOME / "releases" / name).is_dir():
            raise Refused("there is no earlier release to go back to; deploy the one that you want")
        return activate(channel, HOME / "releases" / name, new=False)


_ACTIONS = {"check": check, "deploy": deploy, "rollback": rollback}


@contextmanager
def exclusive() -> Iterator[None]:
    """Allow one deploy at a time. Raises Refused if another one is running."""
    (HOME / "releases").mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refused(
                f"another deploy is running on this board ({file.read().strip()}); wait until it ends. If its connection was "
                f"cut, it gives up within {SILENCE_S:.0f} s"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')} by the board's clock")
        file.flush()
        yield


def _check_lan(lan: bool) -> None:
    """Raise Refused if --lan contradicts the configuration, which belongs to the user."""
    if lan and CONFIG.exists():
        with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):  # the service reports those
            if not tomllib.loads(CONFIG.read_text()).get("web", {}).get("lan", False):
                raise Refused(f"{CONFIG} says lan = false and is never overwritten; change it there, and leave out --lan")
