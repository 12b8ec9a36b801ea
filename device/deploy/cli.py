"""deblurkit deploy: the kit onto a board over ssh, so that it runs there, or nothing has changed."""

import logging
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from device.bundle.open import Bundle
from device.deploy import payload, preflight, wheels
from device.deploy.ssh import Board, File, Refusal
from device.errors import OK, RunError, UsageError
from device.system.console import new_parser, print_json, start_logging

EXAMPLE = "deblurkit deploy pi@raspberrypi.local --source auto --lan\n  deblurkit deploy pi@raspberrypi.local --rollback"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Look at a board, bring the kit, switch to it, and back where it does not run there."""
    parser = new_parser("deploy", "Bring the kit to a board over ssh and let it run there as a service.", EXAMPLE)
    parser.add_argument("target", metavar="USER@HOST", help="as for ssh; root, or a user with sudo without a password")
    parser.add_argument(
        "--bundle", action="append", default=[], help="a bundle that travels along, or a shipped one's name; repeatable"
    )
    parser.add_argument("--source", help="where pictures come from there (default: as /etc/deblurkit.toml there says)")
    parser.add_argument("--lan", action="store_true", help="show the page to the network, with a token in its address")
    parser.add_argument("--wheels", action="store_true", help="download all packages here: for a board without internet")
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign with this ssh key; the board then takes nothing else any more"
    )
    parser.add_argument("--kit", type=Path, metavar="FILE.whl", help="a wheel of deblurkit (default: built of this checkout)")
    parser.add_argument("--again", action="store_true", help="even if the same is there already")
    parser.add_argument("--rollback", action="store_true", help="go back to the release before")
    parser.add_argument("--port", type=int, help="ssh's port")
    parser.add_argument(
        "-o", dest="ssh_options", action="append", default=[], metavar="OPTION", help="an option for ssh; repeatable"
    )
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.rollback and any(
        (options.bundle, options.source, options.lan, options.wheels, options.sign, options.kit, options.again)
    ):
        raise UsageError("--rollback: goes back to what was there before as it was; of other options only ssh's go with it")
    payload.check_source(options.source)
    bundles = payload.opened(options.bundle)
    begun_s = time.monotonic()
    with Board(options.target, options.port, options.ssh_options) as board:
        try:
            result = _rolled_back(board) if options.rollback else _deployed(board, options, bundles)
        except Refusal as why:
            for line in why.facts.get("log", []):
                log.warning("its log: %s", line)
            if options.json:
                print_json({"deployed": False, "error": str(why), **why.facts})
            raise
    result["seconds"] = round(time.monotonic() - begun_s, 1)
    if options.json:
        print_json(result)
    else:
        print(_said(result, options.target))
    return OK


def _require(problems: list[str]) -> None:
    """Raise RunError with all that keeps the kit from the board."""
    if problems:
        raise RunError("this board cannot take it, and nothing was changed there:\n  " + "\n  ".join(problems))


def _rolled_back(board: Board) -> dict[str, Any]:
    facts = preflight.read(board.shell(preflight.SCRIPT))
    _require(preflight.rights(facts))  # the way back must be open where the disk is full or the clock is wrong
    return {"deployed": True, **board.ask({"action": "rollback"}, facts.root == "root", [], _unseen)}


def _deployed(board: Board, options: Namespace, bundles: dict[str, Bundle | None]) -> dict[str, Any]:
    facts = preflight.read(board.shell(preflight.SCRIPT))
    _require(preflight.missing(facts, time.time()))
    log.info("%s", facts.in_words)
    as_root = facts.root == "root"
    with tempfile.TemporaryDirectory(prefix="deblurkit-") as work:
        kit = payload.kit(options.kit, Path(work))
        release = payload.gather(Path(work) / "release", kit, bundles, options.source, options.lan, facts)
        if facts.runs and facts.release.get("content") == release.record["content"] and not options.again:
            log.info("the same is there already (--again brings it all the same); asks how it is")
            return {
                "deployed": False,
                "unchanged": True,
                **board.ask({"action": "check", "lan": options.lan}, as_root, [], _unseen),
            }
        _require(preflight.room(facts, 0.0))
        if options.wheels:
            log.info("downloads wheels for Python %d.%d on %s", *facts.python[:2], facts.machine)
            constraints = release.folder / "constraints.txt"
            mib = wheels.download(kit.requirements, constraints, facts, release.folder / "wheels")
            log.info("%.0f MiB of wheels", mib)
        payload.seal(release, options.sign)
        files = release.files()
        mib = sum(path.stat().st_size for _, path in files) / 2**20
        _require(preflight.room(facts, mib))
        log.info("sends %s: %d files, %.1f MiB", release.name, len(files), mib)
        request = {"action": "deploy", "id": release.name}
        answer = board.ask(request, as_root, files, _Progress(files, options.quiet))
    told = {"sent_mib": round(mib, 1), "signed": options.sign is not None, "source": options.source, "bundles": options.bundle}
    return {"deployed": True, "unchanged": False, **answer, **told}


def _unseen(_: int) -> None:
    """Nothing is sent that would take long."""


class _Progress:
    """One line on a terminal, rewritten: MiB sent of all."""

    def __init__(self, files: list[File], quiet: bool) -> None:
        self._sent, self._total = 0, sum(path.stat().st_size for _, path in files)
        self._on, self._shown = not quiet and sys.stderr.isatty(), -1

    def __call__(self, size: int) -> None:
        self._sent += size
        percent = 100 * self._sent // max(1, self._total)
        if self._on and percent != self._shown:
            self._shown = percent
            print(
                f"\r{self._sent / 2**20:.1f} of {self._total / 2**20:.1f} MiB sent",
                end="\n" * (percent == 100),
                file=sys.stderr,
                flush=True,
            )


def _said(result: dict[str, Any], target: str) -> str:
    """The end, for a person."""
    rows = [f"{target} runs {result['release']}: {result['health']}" + ", nothing to do" * bool(result.get("unchanged"))]
    if result.get("before") and result["before"] != result["release"]:
        rows.append(f"back to {result['before']}: deblurkit deploy {target} --rollback")
    if named := {name: result[name] for name in ("source", "bundles") if result.get(name)}:
        chosen = ", ".join(f"{name} {value if isinstance(value, str) else ' '.join(value)}" for name, value in named.items())
        rows.append(f"set by this release, over /etc/deblurkit.toml: {chosen}")
    if page := result.get("page"):
        rows.append(page + " (on the board itself; --lan, or lan = true there, shows it to the network)" * ("//127." in page))
    return "\n".join(rows)
