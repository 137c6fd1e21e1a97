"""The platform defaults of a fleet's machines, in Redis: their noise floors judge the ideas that ran there.

Each worker writes down that of its own machine (services/worker), and agents can only read it
(services/hub/credentials.py). `connection` is a redis.Redis of whoever calls.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from shared.experiment.platform_default import PlatformDefault, measured_default
from shared.fleet import keys

ENGINES = ("torch", "mlx")
LARGEST_BYTES = 256 * 1024
MOST_SEEDS = 16
"""that a calibration runs for a noise floor (services/calibrator/extend.py)"""
CLOCK_SLACK = timedelta(hours=1)
"""by which the clocks of two machines may differ"""


def publish_own(connection: Any, hardware_key: str) -> None:
    """What was measured on this machine, as its own disk has it."""
    for engine in ENGINES:
        if default := measured_default(hardware_key, engine):
            publish(connection, default)


def publish(connection: Any, default: PlatformDefault) -> None:
    """Unless nothing was measured, it cannot be true, or another machine of the same kind has a newer one."""
    if doubtful(default):
        return
    there = published(connection, default.hardware_key, default.engine)
    if there is None or there.made_at <= default.made_at:
        connection.set(keys.platform_default(default.hardware_key, default.engine), default.model_dump_json())


def published(connection: Any, hardware_key: str, engine: str) -> PlatformDefault | None:
    """None where no worker wrote one down, and for one of another version or that cannot be true."""
    content = connection.get(keys.platform_default(hardware_key, engine))
    if content is None or len(content) > LARGEST_BYTES:
        return None
    try:
        default = PlatformDefault.model_validate_json(content)
    except ValidationError:
        return None
    is_meant = (default.hardware_key, default.engine) == (hardware_key, engine)
    return default if is_meant and not doubtful(default) else None


def doubtful(default: PlatformDefault) -> str:
    """Why no calibration can have found it, or found anything; empty where one can."""
    if not default.is_measured:
        return "nothing was measured"
    if default.made_at > datetime.now(UTC) + CLOCK_SLACK:
        return f"it was made at {default.made_at:%Y-%m-%d %H:%M}, which is to come"
    if default.noise is not None and default.noise.num_seeds > MOST_SEEDS:
        return f"its noise floor rests on {default.noise.num_seeds} seeds, and a calibration runs {MOST_SEEDS}"
    return ""
