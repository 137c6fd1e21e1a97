"""Shows a page when its server answers: `python -m services.console.browser URL`, beside the server's own process."""

import os
import sys
import time
import urllib.error
import urllib.request
import webbrowser

PATIENCE_S, LOOK_EVERY_S = 90.0, 0.5


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


def main() -> None:
    url, give_up = sys.argv[1], time.monotonic() + PATIENCE_S
    while not answers(url) and time.monotonic() < give_up:
        time.sleep(LOOK_EVERY_S)
    webbrowser.open(url)


if __name__ == "__main__":
    main()
