"""Write the pictures of docs/browse.md (docs/screenshots/*.png) from the layouts of the tests.

This needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.browse.served import browsing, build, chromium

WHERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "screenshots")
NARROW = 390
"""The width of a phone's window, in pixels."""
LIMIT = 150_000
"""The largest size of a picture in bytes, because every clone contains them."""


def main() -> int:
    """Write all pictures; return the exit status."""
    os.makedirs(WHERE, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        place = build(directory, hostile=False)
        pages = {
            "home": "",
            "find": "-/find?text=alp+3.16",
            "image": "-/image?ref=alpine:3.16",
            "where-is": f"catalog/where-is?digest={place.digests['3.16']}",
            "images": "catalog/images",
            "plots": "-/plots",
            "narrow": "-/image?ref=alpine:3.16",
        }
        with browsing(place.db) as site, chromium() as browser:
            for name, path in pages.items():
                scheme = "dark" if name == "image" else "light"
                media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                if name == "narrow":
                    size = {"width": NARROW, "height": 720, "deviceScaleFactor": 1, "mobile": True}
                    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                browser.get(site.url + path)
                file = os.path.join(WHERE, f"{name}.png")
                browser.save_screenshot(file)
                taken = os.path.getsize(file)
                print(f"{os.path.relpath(file)}: {taken:,} bytes")
                if taken > LIMIT:
                    print(f"more than {LIMIT:,} bytes: show less", file=sys.stderr)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
