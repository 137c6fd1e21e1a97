"""Environment variables, all of them, prefix ARE_. Nothing else in the tree reads os.environ for configuration."""

import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent
SECRETS = Path("/run/secrets")
MLFLOW_PORT, MLFLOW_PORT_MACOS = 5000, 5050

# stages run in the checkout, whatever the directory a relative path was meant in
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _default_home() -> Path:
    """ValueError where there is no home directory."""
    try:
        return Path.home() / ".cache" / "autoresearch-everywhere"
    except RuntimeError:
        raise ValueError("this user has no home directory: set ARE_HOME to a folder that you may write") from None


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="ARE_",
        # a container's passwords come as files, e.g. /run/secrets/are_worker_redis_url
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    home: Place = Field(default_factory=_default_home)
    """ARE_HOME: corpora, datasets, compile caches, device locks, platform defaults"""
    runs: Place = CHECKOUT / "runs"
    """ARE_RUNS: one directory per experiment"""
    keep_weights: int | None = Field(default=None, ge=0)
    """ARE_KEEP_WEIGHTS: after a run, only the newest so many and the best runs keep their weights; unset keeps all"""
    keep_kernels_gb: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """ARE_KEEP_KERNELS_GB: room for compiled kernels of edited recipes, for their next runs; 0 keeps none"""
    tracking_uri: str = ""
    """ARE_TRACKING_URI: MLflow server; empty keeps a sqlite store in ARE_RUNS"""
    sandbox: Literal["on", "off"] = "on"
    """ARE_SANDBOX: off runs recipes unfenced, for finding out whether the fence is what breaks a driver"""
    env_file: Place = CHECKOUT / ".env"
    """ARE_ENV_FILE: where the hub keeps addresses and passwords, and commands of the fleet look for them"""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """ARE_REDIS_URL: the hub's queue, with user and password, e.g. redis://agent:secret@gb10.local:6379/0"""
    worker_redis_url: str = ""
    """ARE_WORKER_REDIS_URL: the same for workers and operators, who may do more; empty takes ARE_REDIS_URL"""
    spool: Place | None = None
    """ARE_SPOOL: where the calibrator places its experiments for executors; unset runs them as processes"""
    largest_budget_s: float | None = Field(default=None, gt=0)
    """ARE_LARGEST_BUDGET_S: the longest training, calibration or work of the lab in a job; unset takes any"""
    startup_timeout_s: float = Field(default=900.0, gt=0)
    """ARE_STARTUP_TIMEOUT_S: longest time from process start to a compiled, warmed-up recipe"""
    eval_timeout_s: float = Field(default=3600.0, gt=0)
    """ARE_EVAL_TIMEOUT_S: longest evaluation"""

    @property
    def mlflow_uri(self) -> str:
        return self.tracking_uri or f"sqlite:///{self.runs / 'mlflow.db'}"


@cache
def settings() -> Settings:
    """ValueError names the variable that cannot be read."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"ARE_{str(first['loc'][0]).upper()}: {first['msg']}, got {first['input']!r}") from None


def default_mlflow_port() -> int:
    """MLflow's own, but on a Mac that one belongs to AirPlay Receiver."""
    return MLFLOW_PORT_MACOS if sys.platform == "darwin" else MLFLOW_PORT
