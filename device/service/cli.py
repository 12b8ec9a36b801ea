"""deblurkit service: let systemd start the kit when the board starts, and restart it whatever happens."""

import logging
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import device
from device.errors import OK, RunError, UsageError
from device.service import status, systemd_unit
from device.system.console import new_parser, print_json, start_logging
from device.system.files import write_atomically

EXAMPLE = "sudo deblurkit service install --lan\n  sudo deblurkit service status"
UNIT = "etc/systemd/system/deblurkit.service"
_WANTED = "etc/systemd/system/multi-user.target.wants/deblurkit.service"
_DEPLOYED = "etc/systemd/system/deblurkit.service.d/deploy.conf"  # settings of a release from `deblurkit deploy`
_EXAMPLE_CONFIG = Path(device.__file__).with_name("deblurkit.toml")
_PICTURES_WITHIN_S = 10.0  # of the moment when systemd calls the service started
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Install, remove or check the service. `status` ends with 0 if it runs and pictures come, otherwise with 1."""
    parser = new_parser("service", "Let systemd start the kit when the board starts.", EXAMPLE)
    parser.add_argument("action", choices=("install", "uninstall", "status"))
    parser.add_argument(
        "--config", type=Path, metavar="F.toml", help=f"install: the file to copy to {status.CONFIG} (default: an example)"
    )
    parser.add_argument("--lan", action="store_true", help="install: show the page to the network, with a token in its address")
    parser.add_argument("--root", type=Path, metavar="DIR", help="change only files in this folder: to build an image")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.action != "install" and (options.config or options.lan):
        raise UsageError(f"service {options.action}: --config and --lan are for install")
    if options.config and options.lan:
        raise UsageError(f"{options.config}: instead of --lan beside --config write `lan = true` under [web] there")
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
        raise RunError("this machine was not started by systemd; for an image use --root DIR, otherwise `deblurkit run`")
    if os.geteuid() != 0:
        raise UsageError(f"needs root: sudo {shlex.join([str(systemd_unit.command()), 'service', *argv])}")


def _install(root: Path, live: bool, custom: Path | None, lan: bool, as_json: bool) -> int:
    program, needed = systemd_unit.command(), systemd_unit.folders()
    if live:
        systemd_unit.require_readable(program, needed)
    text = systemd_unit.render(program, needed)
    config = root / status.CONFIG.relative_to("/")
    kept = _write_config(config, custom, lan)
    write_atomically(root / UNIT, text.encode())
    (root / UNIT).chmod(0o644)
    log.info("%s %s", config, "exists and is not changed" if kept else "written: please read through it")
    log.info("%s written", root / UNIT)
    if not live:
        link = root / _WANTED
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"/{UNIT}")
        _print({"running": False, "config_kept": kept}, as_json, f"installed in {root}: it runs when that is booted")
        return OK
    for words in (("daemon-reload",), ("enable", "--quiet", status.NAME), ("restart", status.NAME)):
        if (done := status.run_command("systemctl", *words)).returncode != 0:
            print(*status.last_log_lines(), sep="\n", file=sys.stderr)
            raise RunError(f"systemctl {shlex.join(words)}: {done.stderr.strip()}; the last lines of its log are above")
    settings = status.settings_of(config)
    answer, page = status.health(settings, _PICTURES_WITHIN_S), status.page_address(settings)
    summary = f"runs; its page says: {answer or 'nothing'}" if page else "runs"
    record = {"running": True, "config_kept": kept, "health": answer, "page": page}
    _print(record, as_json, f"{summary}\n{status.how_to_open_page(settings)}")
    return OK


def _write_config(config: Path, custom: Path | None, lan: bool) -> bool:
    """Write the configuration; True if there is one already, which is kept. Raises UsageError for an invalid one."""
    try:
        data = (custom or _EXAMPLE_CONFIG).read_bytes()
    except OSError as error:
        raise UsageError(f"{custom}: {error.strerror}; --config takes a TOML file") from error
    if config.exists():
        settings = status.settings_of(config)
        if custom is not None and config.read_bytes() != data:
            raise UsageError(f"{config}: exists already and is never overwritten; edit it, or move it away first")
        if lan and not settings.web.lan:
            raise UsageError(f"{config}: says lan = false and is never overwritten; change it there, then install again")
        return True
    if custom is not None:
        status.settings_of(custom)
    mask = os.umask(0o077)  # camera addresses contain passwords
    try:
        write_atomically(config, re.sub(rb"(?m)^lan = false$", b"lan = true", data) if lan else data)
    finally:
        os.umask(mask)
    return False


def _uninstall(root: Path, live: bool, as_json: bool) -> int:
    installed = (root / UNIT).exists()
    if live and installed:
        status.run_command("systemctl", "disable", "--now", "--quiet", status.NAME)
    for path in (root / _WANTED, root / UNIT, root / _DEPLOYED):
        path.unlink(missing_ok=True)
    if live:
        status.run_command("systemctl", "daemon-reload")
        status.run_command("systemctl", "reset-failed", status.NAME)
    paths = (root / path.relative_to("/") for path in (status.CONFIG, status.STATE))
    kept = [str(path) for path in paths if path.exists()]
    note = f"; kept: {' and '.join(kept)} (settings; the page's token and recordings)" if kept else ""
    _print({"removed": installed, "kept": kept}, as_json, ("removed" if installed else "there was no service") + note)
    return OK


def _status(as_json: bool) -> int:
    facts = status.facts()
    if facts is None:
        _print({"installed": False}, as_json, "not installed; sudo deblurkit service install")
        return 1
    active = facts.get("ActiveState") == "active"
    settings, health, page, waits = None, "", None, False
    try:
        if os.access(status.CONFIG, os.R_OK):
            settings = status.settings_of(status.CONFIG)
            health, page = status.health(settings), status.page_address(settings)
            waits = bool(page) and health != "ok" and status.waits_for_camera(settings)
            shown = (health or "the page does not answer") if page else "unknown: the service has no page"
        else:
            shown = f"unknown: only root can read {status.CONFIG}"
    except UsageError as error:
        shown = str(error)
    lines = status.last_log_lines()
    rows = [*facts.items(), ("Health", shown), *(("Log", line) for line in lines)]
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
    _print(record, as_json, text + (f"\n{status.how_to_open_page(settings)}" if settings is not None else ""))
    return OK if active and (page is None or health == "ok") else 1


def _print(record: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(record)
    else:
        print(text)
