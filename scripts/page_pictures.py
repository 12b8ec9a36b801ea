"""docs/pictures/page.png: the page in light mode, in dark mode and on a phone, of `deblurkit run --source demo`.

python scripts/page_pictures.py URL [FOLDER]; needs Chromium (scripts/install-chromium.sh) and a running `deblurkit run` at URL.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from device.images.picture import read_picture, write_picture

ROOT = Path(__file__).resolve().parent.parent
WATCH_MS = 62_000  # until the plot is full
SCREENS = {"light": (1180, 760, "light"), "dark": (1180, 760, "dark"), "phone": (390, 760, "dark")}


def main(url: str, folder: Path) -> None:
    """One picture for each screen into the folder, and page.png with light and phone beside each other."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height, scheme) in SCREENS.items():  # one at a time: a browser without a GPU is no small load
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(url)
            page.wait_for_timeout(WATCH_MS)
            page.screenshot(path=str(folder / f"{name}.png"))
            context.close()
        browser.close()
    light, phone = (read_picture(folder / f"{name}.png") for name in ("light", "phone"))
    between = np.full((light.shape[0], 24, 3), 255, np.uint8)
    write_picture(ROOT / "docs" / "pictures" / "page.png", np.hstack([light, between, phone]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "."))
