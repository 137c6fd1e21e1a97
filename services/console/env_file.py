"""What the hub wrote to .env, for commands of this checkout. Variables that are already set keep their values."""

import os

from shared.settings import settings

TRACKING = "ARE_TRACKING_URI"


def load_env(only: tuple[str, ...] = ()) -> None:
    """only: the variables to take; empty takes all."""
    if not settings().env_file.is_file():
        return
    for line in settings().env_file.read_text().splitlines():
        name, separator, value = line.partition("=")
        name = name.strip()
        if separator and not name.startswith("#") and (not only or name in only):
            os.environ.setdefault(name, value.strip())
    settings.cache_clear()


def use_tracking_of_hub() -> None:
    """Runs of this machine are recorded where the fleet's are, if this checkout knows a hub."""
    load_env(only=(TRACKING,))
