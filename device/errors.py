"""All errors, with their exit codes. A message says what was seen, what was expected and what to do next."""

OK, INTERRUPTED = 0, 130


class DeblurkitError(Exception):
    """Root of all errors that deblurkit raises on purpose; the command line ends with `exit_code`."""

    exit_code = 1


class RunError(DeblurkitError, OSError):
    """The environment failed while running: a port in use, a full disk, a sink that cannot be written."""


class UsageError(DeblurkitError, ValueError):
    """Wrong usage: an invalid argument or setting, or an output folder that is not empty."""

    exit_code = 2


class DataError(DeblurkitError, ValueError):
    """A picture, a video or a data set is missing, unreadable or unsuitable."""

    exit_code = 3


class BundleError(DeblurkitError, ValueError):
    """A model file or bundle is missing, altered, of a newer schema, or the runtime cannot load it."""

    exit_code = 4


class RuntimeMissing(BundleError, ImportError):
    """An inference runtime is not installed; the message includes the command that installs it."""


class ExportError(DeblurkitError, RuntimeError):
    """A converter failed."""

    exit_code = 5


class GateError(DeblurkitError, RuntimeError):
    """A check failed: a converted file at export, a regression in `bench compare`, or nothing good enough to pick."""

    exit_code = 6


class CameraLost(DeblurkitError, OSError):
    """There is no camera, or it stopped delivering frames."""

    exit_code = 7
