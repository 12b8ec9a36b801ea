"""The verdict of a live run: whether restoring helps, and whether turning the lens or a shorter exposure helps more."""

from device.state import State, Verdict

# A spread of 0.8 pixels is about what a good lens and a sensor's colour filter leave; above 1.2 a person sees it at 100 %.
_LENS_PX = 1.2
_WIDE = 4  # a blur is called as wide as so many standard deviations
_LITTLE = 0.9  # of the blur left: restoring hardly helps


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
    hardly = blur.restored_px is not None and blur.restored_px >= _LITTLE * blur.spread_px
    width = f"about {max(1, round(_WIDE * blur.spread_px))} pixels wide"
    if blur.kind == "motion":
        kind, text = "exposure", f"Expose for less time first. Movement of about {blur.size_px:.0f} pixels{sure}."
    elif blur.kind != "measured" and blur.spread_px >= _LENS_PX:
        kind, text = "lens", f"Turn the lens first. Blur {width}{sure}."
    else:
        kind, text = ("", f"Blur {width}{sure}.") if hardly else ("helps", f"Restoring helps. Blur {width}{sure}.")
    if hardly:
        text += " Restoring hardly sharpens it."
    elif blur.restored_px is not None:
        text += f" Restored: like about {_WIDE * blur.restored_px:.1f} pixels."
    return Verdict(kind, text)
