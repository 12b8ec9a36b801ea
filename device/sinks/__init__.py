"""Where restored frames go. To add a sink, write a file with a class like those here and add a case to `open_sink`.

The contract of a sink is in `sink.py`.
"""

from pathlib import Path

from device.controls import Controls
from device.errors import UsageError
from device.images.picture import is_picture, is_video
from device.settings import Settings
from device.sinks.sink import Sink
from device.sources.source import Source
from device.telemetry import Telemetry


def open_sink(spec: str, source: Source, settings: Settings, controls: Controls, telemetry: Telemetry) -> Sink:
    """Open `web`, `null`, `record:DIR`, `rtsp://…`, a picture or video file (known by suffix), or a folder (anything else).

    Raises UsageError if the output exists and must not be replaced, RunError if it cannot be created.
    """
    if spec == "null":
        from device.sinks.null import Null

        return Null()
    if spec == "web":
        from device.sinks.web import Web

        return Web(controls, telemetry, settings.web)
    if spec.startswith("record:"):
        from device.sinks.record import Recorder

        return Recorder(Path(spec.removeprefix("record:")), settings.record, settings.fps or source.fps)
    if spec.startswith(("rtsp://", "rtsps://")):
        from device.sinks.publish import Publisher

        return Publisher(spec, settings.fps or source.fps, settings.record.mbit)
    path = Path(spec)
    if path.exists() and source.origin is not None and path.resolve() in (source.origin, source.origin.parent):
        raise UsageError(f"{path}: the pictures are read from there; choose another --sink, so that no original is lost")
    if is_file(spec):
        if path.exists() and not settings.replace:
            raise UsageError(f"{path}: exists; choose another --sink, or --replace it")
        if is_video(path):
            from device.sinks.video import VideoSink

            return VideoSink(path, settings.fps or source.fps or 25.0)
        from device.sinks.pictures import LastPicture

        return LastPicture(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: a file without a picture or video suffix; choose a folder or another name")
    if path.is_dir() and any(path.iterdir()) and not settings.replace:
        raise UsageError(f"{path}: is not empty; choose another --sink, or --replace pictures of the same names in it")
    from device.sinks.pictures import Folder

    return Folder(path)


def is_file(spec: str) -> bool:
    """Whether the sink is a single picture or video file, which opening again would overwrite."""
    path = Path(spec)
    return (is_picture(path) or is_video(path)) and not path.is_dir()
