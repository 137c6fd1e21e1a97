"""Can this host run the stack of a target? Every answer is a line that says what to do. Python's own library only."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shared.machine.targets import Target, driver_problem, target_for
from shared.stages.table import STAGES

OLDEST_COMPOSE, OLDEST_ENGINE, OLDEST_TOOLKIT = (2, 20, 2), (20, 10), (1, 17, 8)
ENFORCED = {"MemoryLimit": "memory", "SwapLimit": "swap", "PidsLimit": "number of processes"}
"""of `docker info`: what an engine can limit"""
MACHINES = {"linux/amd64": ("x86_64", "amd64"), "linux/arm64": ("aarch64", "arm64")}
"""what engines call a platform"""
FREE_GB, FREE_GB_GPU, FREE_GB_WHEN_BUILT = {"cpu": 10}, 30, 3
GIB = 2**30


def problems(target: Target, devices: list[str], config: dict, ports: list[tuple[str, int]]) -> Iterator[str]:
    """Lines, worst first; none when the stack can be started. `config` is what `docker compose config` says."""
    if missing := engine_problem():
        yield missing
        return
    try:
        info = engine_info()
    except ValueError as error:
        yield str(error)
        return
    found = (
        virtual_machine_problem(target, info),
        architecture_problem(target, config, info),
        kernel_problem(),
        disk_problem(target, info, is_built(config)),
    )
    yield from (line for line in found if line)
    yield from memory_problems(config, info, len(devices))
    if target.name != "cpu":
        yield from nvidia_problems(target, devices, info)
    yield from (port_problem(address, port) for address, port in ports if is_taken(address, port))


def engine_problem() -> str:
    if shutil.which("docker") is None:
        return "Docker is not installed: docs.docker.com/engine/install"
    try:
        command = output("docker", "--version")
        engine = engine_version() if "podman" not in command.lower() else command
    except subprocess.CalledProcessError as error:
        return f"Docker does not answer ({first_line(error.stderr)}): start it, or join the group docker"
    except ValueError as error:
        return str(error)
    if "podman" in engine.lower():
        return (
            f"`docker` is {first_line(engine)} here, for which the stack was not made: docs.docker.com/engine/install"
        )
    if () < numbers(engine) < OLDEST_ENGINE:  # one that somebody built himself has no number
        return f"Docker {engine} is too old: {dotted(OLDEST_ENGINE)} or newer"
    for plugin in ("compose", "buildx"):
        try:
            found = output("docker", plugin, "version")
        except subprocess.CalledProcessError:
            return f"`docker {plugin}` is missing: install the package docker-{plugin}-plugin"
        if plugin == "compose" and () < numbers(found) < OLDEST_COMPOSE:
            return f"{found} is too old: {dotted(OLDEST_COMPOSE)} or newer"
    return ""


def engine_version() -> str:
    """Such as 28.1.1, or the name too when the engine behind Docker's command is another. ValueError: it says none."""
    server = answered("docker", "version", "--format", "{{json .Server}}")
    others = [
        f"{part.get('Name')} {part.get('Version')}"
        for part in server.get("Components") or ()
        if "podman" in str(part.get("Name")).lower()
    ]
    if version := others[0] if others else server.get("Version"):
        return str(version)
    raise ValueError("Docker does not say its version: is its engine running? Try `docker version`")


def answered(*command: str) -> dict:
    """What a command of Docker's answers in JSON. ValueError when that is nothing, or no object."""
    try:
        answer = json.loads(output(*command))
    except json.JSONDecodeError:
        answer = None
    if isinstance(answer, dict):
        return answer
    raise ValueError(f"`{' '.join(command[:2])}` says nothing: is the engine running? Try it by hand")


def engine_info() -> dict:
    """What the engine says of itself. ValueError when it is not enough to go by."""
    info = answered("docker", "info", "--format", "{{json .}}")
    if errors := info.get("ServerErrors"):
        raise ValueError(f"`docker info` says: {first_line(str(errors[0]))}")
    if missing := [name for name in ("Architecture", "MemTotal", "DockerRootDir") if not info.get(name)]:
        raise ValueError(f"`docker info` does not say {', '.join(missing)}: is this a Docker engine?")
    return info


def virtual_machine_problem(target: Target, info: dict) -> str:
    """In these nobody can tell who else computes on the GPU: NVML lists no processes there."""
    kinds = {
        "Docker Desktop": "Docker Desktop" in (info.get("OperatingSystem") or ""),
        "WSL2": "microsoft" in (info.get("KernelVersion") or "").lower(),
    }
    found = next((kind for kind, is_it in kinds.items() if is_it), "")
    if not found or target.name == "cpu":
        return ""
    return f"{found} is not supported with a GPU: use Docker Engine on Linux itself, or `make up-cpu` here"


def notes(info: dict) -> Iterator[str]:
    """What is good to know of a host that can run the stack."""
    rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
    missing = [what for key, what in ENFORCED.items() if info.get(key) is False]
    if missing:
        how = "rootless Docker needs cgroup v2 with delegation" if rootless else "its kernel was booted without them"
        yield f"this engine cannot limit {', '.join(missing)}: a recipe may use up the host's ({how})"
    elif rootless:
        yield "Docker runs rootless; the stack was not tried with it"


def architecture_problem(target: Target, config: dict, info: dict) -> str:
    """Images are built here and run here. A target that names no platform runs on any."""
    platform = device_stage(config).get("platform")
    needed = MACHINES[platform] if platform else (info["Architecture"],)
    if info["Architecture"] in needed:
        return ""
    return f"{target.name} is {needed[0]}, this host is {info['Architecture']}: choose another target"


def kernel_problem(modules: Path = Path("/sys/kernel/security/lsm")) -> str:
    """Between a recipe and its supervisor, in one container, stands Landlock."""
    try:
        loaded = modules.read_text().strip()
    except OSError:
        return ""  # not this host's kernel, or not ours to read: the executor looks for itself
    return "" if "landlock" in loaded else f"this kernel has no Landlock ({loaded}): boot it with lsm=landlock,{loaded}"


def device_stage(config: dict) -> dict:
    """The container of one of the stages that compute on the device; in image and memory they are alike."""
    return config["services"][next(stage.name for stage in STAGES if stage.needs_device)]


def is_built(config: dict) -> bool:
    """Whether the largest of the images is there, so that little more is needed."""
    try:
        output("docker", "image", "inspect", "--format", "{{.Id}}", device_stage(config)["image"])
    except subprocess.CalledProcessError:
        return False
    return True


def disk_problem(target: Target, info: dict, built: bool) -> str:
    root = Path(info["DockerRootDir"])
    if not root.exists():
        return ""  # an engine in a virtual machine, as on macOS: its disk cannot be seen from here
    needed = FREE_GB_WHEN_BUILT if built else FREE_GB.get(target.name, FREE_GB_GPU)
    free = shutil.disk_usage(root).free / 1e9
    return "" if free >= needed else f"{free:.0f} GB are free at {root}, {needed} are needed: docker system prune"


def memory_problems(config: dict, info: dict, num_devices: int) -> Iterator[str]:
    """One stage runs at a time for each device."""
    limit, shared = (num_devices * int(device_stage(config)[name]) for name in ("mem_limit", "shm_size"))
    if limit > info["MemTotal"]:
        each = max(2, int(0.8 * info["MemTotal"] / GIB / num_devices))
        yield (
            f"the executors may use {limit / GIB:.0f} GiB, this host has {info['MemTotal'] / GIB:.0f}: "
            f"EXECUTOR_MEMORY={each}g"
        )
    if shared > info["MemTotal"] / 2:
        yield f"shared memory of {shared / GIB:.0f} GiB is more than half of this host's memory: take another machine"


def nvidia_problems(target: Target, devices: list[str], info: dict) -> Iterator[str]:
    found = gpus(devices)
    if not found:
        yield f"no NVIDIA GPU {','.join(devices)} answers: does nvidia-smi work?"
    for name, architecture in found:
        if (fitting := target_of_gpu(name, architecture)) != target.name:
            yield f"{name} ({architecture}) is no {target.name}: " + (
                f"make up-{fitting}" if fitting else "it has no target"
            )
    if found and (problem := driver_problem(driver_version())):
        yield problem
    yield from toolkit_problems()
    if "nvidia" not in (info.get("Runtimes") or ()) and not any(Path("/etc/cdi").glob("nvidia*")):
        yield "Docker does not know the NVIDIA runtime: sudo nvidia-ctk runtime configure --runtime=docker; restart it"


def driver_version() -> str:
    """Empty when nobody knows."""
    try:
        return first_line(output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return ""


def toolkit_problems() -> Iterator[str]:
    """Older ones let an image out of its container (CVE-2024-0132, CVE-2025-23359, CVE-2025-23266)."""
    if shutil.which("nvidia-ctk") is None:
        yield "the NVIDIA Container Toolkit is not installed: docs/dgx-spark-setup.md"
        return
    try:
        version = output("nvidia-ctk", "--version")
    except subprocess.CalledProcessError as error:
        version = error.stderr
    if not numbers(version):
        yield f"`nvidia-ctk --version` says no version ({first_line(version) or 'nothing'}): install the toolkit again"
    elif numbers(version) < OLDEST_TOOLKIT:
        yield f"{first_line(version)} has known escapes (CVE-2025-23266): upgrade to {dotted(OLDEST_TOOLKIT)} or newer"


def target_of_gpu(name: str, architecture: str) -> str:
    """Its target, "" when it has none. Workers find the same: shared/machine/hardware.py
    makes its keys of the same name."""
    key = f"nvidia-any-{re.sub(r'[^a-z0-9]+', '-', name.lower().removeprefix('nvidia '))}-any"
    try:
        return target_for(architecture, key).name
    except ValueError:
        return ""


def gpus(devices: list[str]) -> list[tuple[str, str]]:
    """(name, architecture) of each, e.g. ("NVIDIA GB10", "sm_121")."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        lines = output("nvidia-smi", f"--id={','.join(devices)}", *query).splitlines()
    except subprocess.CalledProcessError:
        return []
    pairs = [line.rsplit(",", 1) for line in lines if "," in line]
    return [(name.strip(), f"sm_{capability.strip().replace('.', '')}") for name, capability in pairs]


def is_taken(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def port_problem(address: str, port: int) -> str:
    return f"{address}:{port} is taken: end what listens there (make hub?), or set HUB_REDIS_PORT or HUB_MLFLOW_PORT"


def output(*command: str) -> str:
    """CalledProcessError with its stderr when the command fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout.strip()


def numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
