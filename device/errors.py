"""What can go wrong, and the exit code of each. A message says what was seen, what was expected and what to do."""

OK, INTERRUPTED = 0, 130


class DeblurkitError(Exception):
    """Root of every error that the kit raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class RunError(DeblurkitError, OSError):
    """The surroundings failed while running: a port in use, a full disk, a sink that cannot be written."""


class UsageError(DeblurkitError, ValueError):
    """The command was given something it cannot take, or its output folder is not empty."""

    exit_code = 2


class DataError(DeblurkitError, ValueError):
    """A picture, a video or a data set is missing, unreadable or does not fit."""

    exit_code = 3


class BundleError(DeblurkitError, ValueError):
    """A model file or bundle is missing, altered, of a newer schema, or cannot be loaded by the runtime."""

    exit_code = 4


class RuntimeMissing(BundleError, ImportError):
    """An inference runtime is not installed; the message holds the line that installs it."""


class ExportError(DeblurkitError, RuntimeError):
    """A converter failed."""

    exit_code = 5


class GateError(DeblurkitError, RuntimeError):
    """A converted model was compared with its reference and did not pass."""

    exit_code = 6


class CameraLost(DeblurkitError, OSError):
    """No camera, or the camera stopped delivering frames."""

    exit_code = 7
