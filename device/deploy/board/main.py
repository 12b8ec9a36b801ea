"""What can be asked of a board: to take a release in, to go back to the one before, to say how it is."""

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
from device.deploy.board.activate import last_lines, program, status_of, switch, told, well, words
from device.deploy.board.channel import SILENCE_S, Line, Lost
from device.deploy.board.paths import CONFIG, CURRENT, HOME, PREVIOUS, SIGNERS, Refused, linked


def main(stream: BufferedReader) -> int:
    """Do what is asked for; returns the exit code.

    Until the switch a lost connection ends it. From then on it goes on alone: a board is never left between two releases.
    """
    os.umask(0o022)  # the service's own user must be able to read all of it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    line = Line(stream)
    try:
        line.say(result=_ACTIONS[line.request["action"]](line))
    except Refused as why:
        line.say(refused=str(why), code=why.code, **why.facts)
        return why.code
    except Lost:
        line.say(refused="the connection was lost; what ran before still runs", code=1)  # should anybody hear it
        return 1
    except OSError as error:
        line.say(refused=f"{error.filename or HOME} on the board: {error.strerror}; nothing was switched; see `df -h`", code=1)
        return 1
    return 0


def check(line: Line) -> dict[str, Any]:
    """How what runs is doing; nothing is changed."""
    _check_lan(line.request.get("lan", False))
    status = status_of(program())
    if not well(status):
        raise Refused(f"it is there, but does not run well: {words(status)}; deploy --again puts it there anew", log=last_lines())
    return {**told(status), "release": linked(CURRENT)}


def deploy(line: Line) -> dict[str, Any]:
    """Take in the release that comes over the line, and switch to it."""
    name = receive.plain(line.request["id"])
    with locked():
        for left in (HOME / "releases").glob(".part-*"):
            line.say(f"removes {left.name}, left by a deploy that was cut")
            shutil.rmtree(left, ignore_errors=True)
        part = HOME / "releases" / f".part-{name}"
        try:
            receive.receive(line, part, line.request["files"])
            line.say(receive.check(part))
            release = json.loads((part / "release.json").read_bytes())
            if release["id"] != name:
                raise Refused(f"{name} was announced and {release['id']} came; deploy again")
            _check_lan(release["lan"])
            environment.make(line, part, release)
            line.confirm()
            if receive.pin(part):
                line.say(f"keeps its key in {SIGNERS}: from now on this board takes only what is signed with it")
            final = environment.settle(part)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return switch(line, final, new=True)


def rollback(line: Line) -> dict[str, Any]:
    """Switch to the release before."""
    with locked():
        name = linked(PREVIOUS)
        if name is None or not (HOME / "releases" / name).is_dir():
            raise Refused("there is no release before this one to go back to; deploy the one that you want")
        return switch(line, HOME / "releases" / name, new=False)


_ACTIONS = {"check": check, "deploy": deploy, "rollback": rollback}


@contextmanager
def locked() -> Iterator[None]:
    """One deploy at a time. Raises Refused beside another."""
    (HOME / "releases").mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refused(
                f"another deploy is at work on this board ({file.read().strip()}); wait for its end. If its connection was "
                f"cut, it gives up within {SILENCE_S:.0f} s"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')} by the board's clock")
        file.flush()
        yield


def _check_lan(lan: bool) -> None:
    """Raise Refused where --lan is asked for and the configuration says otherwise: it is a person's."""
    if lan and CONFIG.exists():
        with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):  # for the service to say
            if not tomllib.loads(CONFIG.read_text()).get("web", {}).get("lan", False):
                raise Refused(f"{CONFIG} says lan = false and is never written over; change it there, and leave --lan out")
