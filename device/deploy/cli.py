"""deblurkit deploy: install the kit on a board over ssh. Afterwards it runs there, or nothing has changed."""

import logging
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from device.bundle.open import Bundle
from device.deploy import payload, preflight, wheels
from device.deploy.ssh import Connection, DeployRefused, File
from device.errors import OK, RunError, UsageError
from device.system.console import new_parser, print_json, start_logging

EXAMPLE = "deblurkit deploy pi@raspberrypi.local --source auto --lan\n  deblurkit deploy pi@raspberrypi.local --rollback"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Check a board, send the kit, switch to it, and switch back if it does not run there."""
    parser = new_parser("deploy", "Install the kit on a board over ssh and run it there as a service.", EXAMPLE)
    parser.add_argument("target", metavar="USER@HOST", help="as for ssh; root, or a user who may use sudo without a password")
    parser.add_argument(
        "--bundle", action="append", default=[], help="a bundle to send along, or the name of a shipped one; repeatable"
    )
    parser.add_argument("--source", help="where pictures come from there (default: what /etc/deblurkit.toml there says)")
    parser.add_argument("--lan", action="store_true", help="show the page to the network, with a token in its address")
    parser.add_argument(
        "--wheels", action="store_true", help="download all packages on this machine: for a board without internet"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign with this ssh key; from then on the board accepts nothing else"
    )
    parser.add_argument("--kit", type=Path, metavar="FILE.whl", help="a wheel of deblurkit (default: built from this checkout)")
    parser.add_argument("--again", action="store_true", help="even if the same release is installed already")
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
        raise UsageError(
            "--rollback: goes back to the release before, unchanged; only the options for ssh can be combined with it"
        )
    payload.check_source(options.source)
    bundles = payload.open_bundles(options.bundle)
    started_s = time.monotonic()
    with Connection(options.target, options.port, options.ssh_options) as board:
        try:
            result = _roll_back(board) if options.rollback else _deploy(board, options, bundles)
        except DeployRefused as refused:
            for line in refused.facts.get("log", []):
                log.warning("its log: %s", line)
            if options.json:
                print_json({"deployed": False, "error": str(refused), **refused.facts})
            raise
    result["seconds"] = round(time.monotonic() - started_s, 1)
    if options.json:
        print_json(result)
    else:
        print(_summary(result, options.target))
    return OK


def _require(problems: list[str]) -> None:
    """Raise RunError with all the problems, if there are any."""
    if problems:
        raise RunError("this board cannot run the kit, and nothing was changed there:\n  " + "\n  ".join(problems))


def _roll_back(board: Connection) -> dict[str, Any]:
    facts = preflight.parse(board.run_script(preflight.SCRIPT))
    _require(preflight.permission_problems(facts))  # only these: a rollback must work with a full disk or a wrong clock
    return {"deployed": True, **board.request({"action": "rollback"}, root=facts.root == "root")}


def _deploy(board: Connection, options: Namespace, bundles: dict[str, Bundle | None]) -> dict[str, Any]:
    facts = preflight.parse(board.run_script(preflight.SCRIPT))
    _require(preflight.problems(facts, time.time()))
    log.info("%s", facts.summary)
    as_root = facts.root == "root"
    with tempfile.TemporaryDirectory(prefix="deblurkit-") as work:
        kit = payload.find_kit(options.kit, Path(work))
        release = payload.assemble(
            Path(work) / "release", kit=kit, bundles=bundles, source=options.source, lan=options.lan, facts=facts
        )
        if facts.running_release and facts.release.get("content") == release.record["content"] and not options.again:
            log.info("this release runs already; checking its health (--again installs it again)")
            return {
                "deployed": False,
                "unchanged": True,
                **board.request({"action": "check", "lan": options.lan}, root=as_root),
            }
        _require(preflight.space_problems(facts, 0.0))
        if options.wheels:
            log.info("downloading wheels for Python %d.%d on %s", *facts.python[:2], facts.machine)
            constraints = release.folder / "constraints.txt"
            mib = wheels.download(kit.requirements, constraints, facts, release.folder / "wheels")
            log.info("%.0f MiB of wheels", mib)
        payload.seal(release, options.sign)
        files = release.files()
        mib = sum(path.stat().st_size for _, path in files) / 2**20
        _require(preflight.space_problems(facts, mib))
        log.info("sending %s: %d files, %.1f MiB", release.name, len(files), mib)
        request = {"action": "deploy", "id": release.name}
        answer = board.request(request, root=as_root, files=files, sent=_Progress(files, options.quiet))
    sent = {"sent_mib": round(mib, 1), "signed": options.sign is not None, "source": options.source, "bundles": options.bundle}
    return {"deployed": True, "unchanged": False, **answer, **sent}


class _Progress:
    """One line on a terminal, updated in place: MiB sent of the total."""

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


def _summary(result: dict[str, Any], target: str) -> str:
    """The result, for a person."""
    rows = [f"{target} runs {result['release']}: {result['health']}" + ", nothing to do" * bool(result.get("unchanged"))]
    if result.get("before") and result["before"] != result["release"]:
        rows.append(f"to go back to {result['before']}: deblurkit deploy {target} --rollback")
    if settings := {name: result[name] for name in ("source", "bundles") if result.get(name)}:
        chosen = ", ".join(f"{name} {value if isinstance(value, str) else ' '.join(value)}" for name, value in settings.items())
        rows.append(f"this release overrides in /etc/deblurkit.toml: {chosen}")
    if page := result.get("page"):
        rows.append(page + " (on the board itself; --lan, or lan = true there, shows it to the network)" * ("//127." in page))
    return "\n".join(rows)
