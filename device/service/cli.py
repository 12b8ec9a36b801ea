"""deblurkit service: let systemd run the kit from the start of the board on, and begin it again whatever happens."""

import logging
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from device.errors import OK, RunError, UsageError
from device.service import status, systemd_unit
from device.system.console import new_parser, print_json, start_logging
from device.system.files import write_atomically

EXAMPLE = "sudo deblurkit service install --lan\n  sudo deblurkit service status"
UNIT = "etc/systemd/system/deblurkit.service"
_WANTED = "etc/systemd/system/multi-user.target.wants/deblurkit.service"
_DEPLOYED = "etc/systemd/system/deblurkit.service.d/deploy.conf"  # settings of a release that `deblurkit deploy` brought
_HEALTHY_S = 10.0  # that pictures may take to come once systemd calls the service started
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Install, remove or look at the service. `status` ends with 0 where it runs and pictures come, else with 1."""
    parser = new_parser("service", "Let systemd run the kit from the start of the board on.", EXAMPLE)
    parser.add_argument("action", choices=("install", "uninstall", "status"))
    parser.add_argument(
        "--config", type=Path, metavar="F.toml", help=f"install: what {status.CONFIG} shall hold (default: an example)"
    )
    parser.add_argument("--lan", action="store_true", help="install: show the page to the network, with a token in its address")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="change files in this folder and nothing that runs: for who builds an image"
    )
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.action != "install" and (options.config or options.lan):
        raise UsageError(f"service {options.action}: --config and --lan are for install")
    if options.config and options.lan:
        raise UsageError(f"{options.config}: with --config write `lan = true` under [web] there, instead of --lan")
    if options.action == "status":
        if options.root is not None:
            raise UsageError("service status: --root is for install and uninstall")
        return _status(options.json)
    if options.root is None:
        _require_systemd(argv)
    elif not options.root.is_dir():
        raise UsageError(f"{options.root}: no such folder; --root takes the root folder of an image")
    root, live = options.root or Path("/"), options.root is None
    if options.action == "install":
        return _install(root, live, options.config, options.lan, options.json)
    return _uninstall(root, live, options.json)


def _require_systemd(argv: list[str]) -> None:
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        raise RunError("this machine was not started by systemd; for an image give --root DIR, elsewhere use `deblurkit run`")
    if os.geteuid() != 0:
        raise UsageError(f"needs root: sudo {shlex.join([str(systemd_unit.command()), 'service', *argv])}")


def _install(root: Path, live: bool, given: Path | None, lan: bool, as_json: bool) -> int:
    program, needed = systemd_unit.command(), systemd_unit.folders()
    if live:
        systemd_unit.require_readable(program, needed)
    text = systemd_unit.rendered(program, needed)
    config = root / status.CONFIG.relative_to("/")
    kept = _put_config(config, given, lan)
    write_atomically(root / UNIT, text.encode())
    (root / UNIT).chmod(0o644)
    log.info("%s %s", config, "was there and stays as it is" if kept else "written: look through it")
    log.info("%s written", root / UNIT)
    if not live:
        link = root / _WANTED
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"/{UNIT}")
        _tell({"running": False, "config_kept": kept}, as_json, f"installed in {root}: runs when that is booted")
        return OK
    for words in (("daemon-reload",), ("enable", "--quiet", status.NAME), ("restart", status.NAME)):
        if (done := status.call("systemctl", *words)).returncode != 0:
            print(*status.last_lines(), sep="\n", file=sys.stderr)
            raise RunError(f"systemctl {shlex.join(words)}: {done.stderr.strip()}; above are the last lines of its log")
    settings = status.settings_of(config)
    answer, page = status.health(settings, _HEALTHY_S), status.entrance(settings)
    said = f"runs; its page says: {answer or 'nothing'}" if page else "runs"
    record = {"running": True, "config_kept": kept, "health": answer, "page": page}
    _tell(record, as_json, f"{said}\n{status.invitation(settings)}")
    return OK


def _put_config(config: Path, given: Path | None, lan: bool) -> bool:
    """Write the configuration. True where there is one already, which stays. Raises UsageError for one that cannot be."""
    try:
        data = (given or systemd_unit.TEMPLATE.with_name("deblurkit.toml")).read_bytes()
    except OSError as error:
        raise UsageError(f"{given}: {error.strerror}; --config takes a TOML file") from error
    if config.exists():
        settings = status.settings_of(config)
        if given is not None and config.read_bytes() != data:
            raise UsageError(f"{config}: is there already and is never written over; edit it, or move it away first")
        if lan and not settings.web.lan:
            raise UsageError(f"{config}: says lan = false and is never written over; change it there, then install again")
        return True
    if given is not None:
        status.settings_of(given)
    mask = os.umask(0o077)  # addresses of cameras hold passwords
    try:
        write_atomically(config, re.sub(rb"(?m)^lan = false$", b"lan = true", data) if lan else data)
    finally:
        os.umask(mask)
    return False


def _uninstall(root: Path, live: bool, as_json: bool) -> int:
    there = (root / UNIT).exists()
    if live and there:
        status.call("systemctl", "disable", "--now", "--quiet", status.NAME)
    for place in (root / _WANTED, root / UNIT, root / _DEPLOYED):
        place.unlink(missing_ok=True)
    if live:
        status.call("systemctl", "daemon-reload")
        status.call("systemctl", "reset-failed", status.NAME)
    places = (root / place.relative_to("/") for place in (status.CONFIG, status.STATE))
    kept = [str(place) for place in places if place.exists()]
    stays = f"; what stays: {' and '.join(kept)} (settings; the page's token and recordings)" if kept else ""
    _tell({"removed": there, "kept": kept}, as_json, ("removed" if there else "there was no service") + stays)
    return OK


def _status(as_json: bool) -> int:
    facts = status.facts()
    if facts is None:
        _tell({"installed": False}, as_json, "not installed; sudo deblurkit service install")
        return 1
    active = facts.get("ActiveState") == "active"
    settings, health, page, waits = None, "", None, False
    try:
        if os.access(status.CONFIG, os.R_OK):
            settings = status.settings_of(status.CONFIG)
            health, page = status.health(settings), status.entrance(settings)
            waits = bool(page) and health != "ok" and status.waits_for_camera(settings)
            said = (health or "the page does not answer") if page else "it has no page that could tell"
        else:
            said = f"not asked for: {status.CONFIG} is for root to read"
    except UsageError as error:
        said = str(error)
    lines = status.last_lines()
    rows = [*facts.items(), ("Health", said), *(("Log", line) for line in lines)]
    text = "\n".join(f"{name:22}{value}" for name, value in rows)
    record = {
        "installed": True,
        "running": active,
        "health": health,
        "page": page,
        "waits_for_camera": waits,
        **facts,
        "log": lines,
    }
    _tell(record, as_json, text + (f"\n{status.invitation(settings)}" if settings is not None else ""))
    return OK if active and (page is None or health == "ok") else 1


def _tell(record: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(record)
    else:
        print(text)
