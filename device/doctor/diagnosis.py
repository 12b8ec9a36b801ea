"""The result of one check of the doctor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check. Its fields are the keys of `doctor --json`."""

    what: str
    """What was checked."""
    state: str
    """`ok`; `missing`: something optional, or needed later; `poor`: works, but not well; `bad`: deblurkit cannot run."""
    found: str
    """What was seen."""
    mend: str = ""
    """How to fix it; empty if nothing is wrong."""
