"""Entry point of `deblurkit train|export|run|bench|service|deploy|doctor …`; imports only the package of that command."""

import importlib
import os
import sys

from device.errors import INTERRUPTED, DeblurkitError, UsageError

COMMANDS = {
    "train": ("train.cli", "train a network on photographs or pairs"),
    "export": ("export.cli", "convert a trained run into a bundle of TFLite and ONNX files"),
    "run": ("device.cli", "restore a live camera, a video or pictures"),
    "estimate": ("device.estimate_cli", "estimate the blur of pictures"),
    "bench": ("benchmarks.cli", "measure time and picture quality of every file on every runtime"),
    "service": ("device.service.cli", "run deblurkit as a systemd service that starts with the board"),
    "deploy": ("device.deploy.cli", "install deblurkit on a board over ssh and run it there"),
    "doctor": ("device.doctor", "check this machine, and print a fix for everything that is missing"),
}
USAGE = "usage: deblurkit COMMAND [options]\n\n" + "\n".join(f"  {name:8} {text}" for name, (_, text) in COMMANDS.items())


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns its exit code (ARCHITECTURE.md lists them)."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(f"{USAGE}\n\n`deblurkit COMMAND --help` explains a command, with an example.")
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if name == "--version":
            from importlib.metadata import version

            print(f"deblurkit {version('deblurkit')}")
            return 0
        if name not in COMMANDS:
            from device.config import nearest

            raise UsageError(f"unknown command {name!r}; {nearest(name, COMMANDS)}")
        try:
            command = importlib.import_module(COMMANDS[name][0])
            return int(command.main(rest))
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("device", "train", "export", "benchmarks"):
                raise
            raise UsageError(f"`deblurkit {name}` needs {error.name}, which is not installed; run `make setup`") from error
    except DeblurkitError as error:
        from device.system import journal

        text = f"deblurkit {name}: {error}"
        print(journal.with_priority(text, journal.ERROR) if journal.is_journal(sys.stderr) else text, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"deblurkit {name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads stdout any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
