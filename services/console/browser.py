"""Says where pages are and opens the first, when their server answers: `python -m services.console.browser
PAGES SERVER`, beside the server's own process.

PAGES is a JSON list of what to say of each page, and its address; SERVER the process id of its parent, the server.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Sequence

PATIENCE_S, LOOK_EVERY_S = 90.0, 0.2

Page = tuple[str, str]


def show(pages: Sequence[Page]) -> None:
    for what, address in pages:
        print(f"open {address} in a browser: {what}", flush=True)
    if has_screen():
        webbrowser.open(pages[0][1])


def has_screen() -> bool:
    """Whether a person sits before a browser here. On a server `webbrowser` would take over the terminal."""
    screen = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return screen and sys.stdout.isatty()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url.partition('#')[0]}health", timeout=2).close()
    except (OSError, urllib.error.URLError):
        return False
    return True


def wait_and_show(pages: Sequence[Page], server: int) -> int:
    """Exit code 1 when the server ended or took too long."""
    late = time.monotonic() + PATIENCE_S
    while not answers(pages[0][1]):
        if os.getppid() != server:
            return 1
        if time.monotonic() > late:
            print(f"MLflow's server does not answer after {PATIENCE_S:.0f} s; what it printed says why", flush=True)
            return 1
        time.sleep(LOOK_EVERY_S)
    show(pages)
    return 0


if __name__ == "__main__":
    sys.exit(wait_and_show(json.loads(sys.argv[1]), int(sys.argv[2])))
