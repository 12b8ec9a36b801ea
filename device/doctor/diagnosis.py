"""What a look at one thing gave."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    what: str
    state: str
    """`ok`; `missing`: something optional, or needed later; `poor`: works, but worse than it could; `bad`: the kit cannot run."""
    found: str
    mend: str = ""
    """The line that fixes it."""
