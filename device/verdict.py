"""The verdict of a live run: whether restoring helps, and whether turning the lens or a shorter exposure helps more."""

from device.state import State, Verdict

# A spread of 0.8 pixels is about what a good lens and a sensor's colour filter leave; above 1.2 a person sees it at 100 %.
_LENS_PX = 1.2
_SPREAD = {"defocus": 0.5, "motion": 1 / 12**0.5}  # standard deviation along an axis, of a size of 1


def judge(state: State) -> Verdict:
    """The verdict on this state. It remembers nothing: the same state gives the same verdict."""
    blur = state.blur
    if blur.mode == "off":
        return Verdict("", "Nothing is restored: the blur is switched off.")
    if blur.kind == "blind":
        if blur.mode == "auto" and blur.sureness:
            return Verdict("sharp", "No clear blur: the picture is about as sharp as it gets.")
        return Verdict("", "")
    sure = f" ({blur.sureness})" if blur.sureness else ""
    if blur.kind == "motion":
        return Verdict("exposure", f"Expose for less time first. Movement of about {blur.size_px:.0f} pixels{sure}.")
    spread = blur.size_px * _SPREAD.get(blur.kind, 1.0)
    wide = f"Blur about {max(1, round(4 * spread))} pixels wide{sure}."
    if blur.kind != "measured" and spread >= _LENS_PX:
        return Verdict("lens", f"Turn the lens first. {wide}")
    return Verdict("helps", f"Restoring helps. {wide}" if blur.kind != "measured" else "Restoring helps: the blur was measured.")
