"""Brings the stack of a target up and down: `python3 -m compose.stack up gb10` (make up-gb10). No package is needed.

HUB=host       workers only, against a hub elsewhere, whose .env lies in this checkout
HUB_BIND=addr  opens the hub on that address; then MLflow asks for a password
DEVICES=0,1    one worker and one set of executors for each of these GPUs
STACK=name     another stack beside the first on the same engine, with volumes and networks of its own; only the
               device locks are common to all, so that two stacks take turns on a device
NSIGHT=1       the kernel lab's image has Nsight Systems and Nsight Compute
"""

import argparse
import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from compose import host
from compose.passwords import digest_of, forget_passwords, keep_hub_secrets, keep_worker_secrets
from services.hub.credentials import Hub, read_env, write_private
from shared.machine.targets import TARGETS, Target, driver_problem, find_target

CHECKOUT = Path(__file__).resolve().parent.parent
SECRETS, ENV_FILE = CHECKOUT / ".secrets", CHECKOUT / ".env"
PROJECT = os.environ.get("STACK") or "autoresearch"
OWNER = "STACK_OF_THIS_CHECKOUT"
LOCKS = "autoresearch-locks"
"""the volume of the device locks"""
PATIENCE_S, HURRY_S, LAST_S = 7200, 10, 30
"""for an attempt to end: training, evaluation and what is waited for on the way; with NOW=1; for all the others"""
WORKER_S, LOOK_S = 120, 0.5
"""how long a worker may take to reach its hub, and how often it is asked"""
HUB_SERVICES = ("redis", "database", "mlflow")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m compose.stack", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "check"):
        targets = [target.name for target in TARGETS if target.image]
        commands.add_parser(name).add_argument("target", choices=targets)
    for name in ("down", "logs", "ps", "doctor", "rotate"):
        commands.add_parser(name)
    asked = parser.parse_args()
    try:
        check_name(PROJECT)
        if asked.command in ("up", "check"):
            return {"up": up, "check": check}[asked.command](find_target(asked.target))
        return {"down": down, "logs": logs, "ps": ps, "doctor": doctor, "rotate": rotate}[asked.command]()
    except ValueError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stack: {what_the_system_refused(error)}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"stack: `{' '.join(error.cmd[:4])} ...` failed: {error.stderr or 'see above'}", file=sys.stderr)
        return 1


def what_the_system_refused(error: OSError) -> str:
    if error.filename == "docker":
        return host.engine_problem() or "Docker's command is gone"
    closed = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
    advice = "; the passwords are kept in the checkout: use one that you may write" if closed else ""
    return f"{error.strerror or error}: {error.filename or ''}{advice}"


def check_name(stack: str) -> None:
    """ValueError for a name that Compose would not take, or that another stack gives to the project of a device."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", stack):
        raise ValueError(f"STACK={stack}: use small letters, digits, - and _, with a letter or digit first")
    if re.search(r"-gpu\d+$", stack):
        raise ValueError(f"STACK={stack}: names that end so are those of the second and further DEVICES of a stack")


def up(target: Target) -> int:
    """Checks the host, makes passwords and images, starts the containers and says what to do next.

    Running it again is safe: containers whose configuration did not change are left alone.
    """
    if check(target):
        return 2
    hub = the_hub()
    refuse_another_stack()
    if elsewhere():
        keep_worker_secrets(SECRETS, ENV_FILE, elsewhere())
    else:
        keep_hub_secrets(SECRETS, ENV_FILE, hub, asks_for_password=not hub.is_local)
        claim_checkout()
    build(target)
    host.output("docker", "volume", "create", LOCKS)
    let_attempts_end(target)
    for number, device in enumerate(devices()):
        start(target, number, device)
    say_what_next(target, hub)
    return 0


def start(target: Target, number: int, device: str) -> None:
    """Comes back when hub and worker answer. An executor may end at any time, and is started again."""
    compose(target, number, device, "up", "--detach", "--remove-orphans")
    if not (elsewhere() or number):
        compose(target, number, device, "up", "--detach", "--wait", "--no-deps", "--no-recreate", *HUB_SERVICES)
    await_worker(target, number, device)


def await_worker(target: Target, number: int, device: str) -> None:
    """Asks it itself: Docker first looks at a container's health when its interval has passed. ValueError when late."""
    command = compose_command(number, "exec", "-T", "worker", "python3", "-m", "services.worker.health")
    give_up = time.monotonic() + WORKER_S
    while (
        asked := subprocess.run(command, capture_output=True, text=True, env=environment(target, device))
    ).returncode:
        if time.monotonic() > give_up:
            said = host.first_line(asked.stderr) or "it has not registered with the queue"
            raise ValueError(
                f"the worker of {device_name(target, device)} did not reach its hub in {WORKER_S} s ({said}): make logs"
            )
        time.sleep(LOOK_S)


def refuse_another_stack() -> None:
    """One stack a checkout, for .env and .secrets are one stack's. ValueError when they are another's.

    A host with workers only has the .env of its hub, which names the hub's stack, and no hub's secrets.
    """
    owner = read_env(ENV_FILE).get(OWNER, PROJECT)
    workers_only = elsewhere() and not (SECRETS / "redis_users").exists()
    if owner != PROJECT and not workers_only:
        raise ValueError(
            f"the passwords of this checkout belong to stack {owner}, so {PROJECT} needs a checkout of its own; when "
            f"{owner} is gone for good, remove the line {OWNER} from {ENV_FILE.name}"
        )


def claim_checkout() -> None:
    if read_env(ENV_FILE).get(OWNER) != PROJECT:
        write_private(ENV_FILE, f"{ENV_FILE.read_text()}{OWNER}={PROJECT}\n")


def let_attempts_end(target: Target) -> None:
    """Before a container is replaced: an attempt dies with its executor, a worker waits minutes for a lost queue."""
    projects = list(enumerate(devices()))
    plans = [planned(target, number, device) for number, device in projects]
    if any("Recreate" in plan for plan in plans):
        for number, device in projects:
            compose(target, number, device, "stop", "--timeout", str(PATIENCE_S), "worker")


def planned(target: Target, number: int, device: str) -> str:
    """What `up` would do, a line for each container."""
    command = compose_command(number, "up", "--dry-run", "--detach")
    done = subprocess.run(command, capture_output=True, text=True, env=environment(target, device))
    return done.stdout + done.stderr


def check(target: Target) -> int:
    """Exit code 2 and a line for each thing that is missing. ValueError for what this target never has."""
    if with_nsight() and target.name == "cpu":
        raise ValueError("NSIGHT=1: Nsight measures NVIDIA GPUs, and target cpu has none")
    found = list(host.engine_problem().splitlines())
    if not found:
        running = bool(host.output("docker", "compose", "--project-name", PROJECT, "ps", "--quiet", "redis"))
        hub = the_hub()
        bind = "0.0.0.0" if hub.bind == "::" else hub.bind
        ports = [] if running or elsewhere() else [(bind, hub.redis_port), (bind, hub.mlflow_port)]
        found = list(host.problems(target, devices(), configuration(target), ports))
        for line in [] if found else host.notes(host.engine_info()):
            print(f"look {line}", file=sys.stderr)
    for line in found:
        print(f"fix  {line}", file=sys.stderr)
    return 2 if found else 0


def build(target: Target) -> None:
    images = ["worker", target.image or ""] + ([] if elsewhere() else ["hub"])
    images += [nsight_image(target)] if with_nsight() else []
    docker("buildx", "bake", "--load", "--file", str(CHECKOUT / "images" / "docker-bake.hcl"), *images)


def down() -> int:
    """Attempts end first, unless NOW=1. Volumes stay."""
    patience_s = HURRY_S if os.environ.get("NOW") else PATIENCE_S
    for project in sorted(projects(), reverse=True):  # the hub's last
        docker("compose", "--project-name", project, "stop", "--timeout", str(patience_s), "worker")
        docker("compose", "--project-name", project, "down", "--timeout", str(min(patience_s, LAST_S)))
    return 0


def logs() -> int:
    """Of all devices at once, until Ctrl-C; of several, each line names its own."""
    running = devices_of_projects()
    if not running:
        print("nothing runs: make up-<target>", file=sys.stderr)
    names = {project: f"{device}  " if len(running) > 1 else "" for project, device in running.items()}
    followed = [follow(project, name) for project, name in names.items()]
    try:
        return max((process.wait() for process in followed), default=0)
    except KeyboardInterrupt:
        return 130


def follow(project: str, before: str) -> subprocess.Popen:
    command = ["docker", "compose", "--project-name", project, "logs", "--follow", "--tail", "100"]
    if not before:
        return subprocess.Popen(command, cwd=CHECKOUT)
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, errors="replace")
    threading.Thread(target=print_lines, args=(process, before)).start()
    return process


def print_lines(process: subprocess.Popen, before: str) -> None:
    for line in process.stdout or ():
        print(before, line, sep="", end="", flush=True)


def rotate() -> int:
    """New passwords at the next `make up-<target>`, which makes the containers anew. Other hosts need the new .env."""
    if elsewhere():
        raise ValueError("the passwords are the hub's: run make rotate there, and copy its new .env here")
    refuse_another_stack()
    forget_passwords(SECRETS, ENV_FILE)
    print(f"the passwords in {SECRETS.name} and {ENV_FILE.name} are forgotten. Now run make up-<target>: it makes new")
    print(
        "ones and restarts the hub and the workers. Then copy .env to every other host and run make up-<target> there"
    )
    return 0


def ps() -> int:
    for project, device in devices_of_projects().items():
        print(f"{project} ({device}):", flush=True)
        docker("compose", "--project-name", project, "ps", "--all")
    return 0


def doctor() -> int:
    """This host as Docker sees it, then the worker's own look at queue, tracking, device and disk."""
    if problem := host.engine_problem():
        print(f"fix  {problem}")
        return 1
    print("ok   Docker", host.engine_version())
    for line in host.notes(host.engine_info()):
        print(f"look {line}")
    running = devices_of_projects()
    doctor_of_gpus(gpus_of(running.values()) or devices())
    if not running:
        print("look nothing runs: make up-<target>")
    return max((doctor_of(project, device) for project, device in running.items()), default=0)


def doctor_of_gpus(gpus: list[str]) -> None:
    """One line for each that answers; a host without any has none."""
    found = [(gpu, *answer) for gpu in gpus for answer in host.gpus([gpu])]
    for gpu, name, architecture in found:
        print(f"ok   GPU {gpu}, {name} ({architecture}): target {host.target_of_gpu(name, architecture) or 'none'}")
    for line in host.toolkit_problems() if found else ():
        print(f"fix  {line}")
    if found and (problem := driver_problem(host.driver_version())):
        print(f"fix  {problem}")


def doctor_of(project: str, device: str) -> int:
    """One worker for each device."""
    print(f"{project} ({device}):", flush=True)
    command = ["docker", "compose", "--project-name", project, "exec", "-T", "worker", "autoresearch", "doctor"]
    return subprocess.run(command, env=environment(find_target("cpu"), "0")).returncode


def projects() -> set[str]:
    said = host.output("docker", "compose", "ls", "--all", "--format", "json")
    found = json.loads(said or "[]") or []
    return {project["Name"] for project in found if re.fullmatch(rf"{PROJECT}(-gpu\d+)?", project["Name"])}


def devices_of_projects() -> dict[str, str]:
    """{project: what its worker computes on}, as `up` labelled it."""
    return {name: device_of_project(name) or "unknown device" for name in sorted(projects())}


def device_of_project(project: str) -> str:
    labels = [f"label=com.docker.compose.{kind}={name}" for kind, name in (("project", project), ("service", "worker"))]
    filters = [word for label in labels for word in ("--filter", label)]
    return host.first_line(host.output("docker", "ps", "--all", *filters, "--format", '{{.Label "device"}}'))


def device_name(target: Target, device: str) -> str:
    return target.name if target.name == "cpu" else f"{target.name} GPU {device}"


def gpus_of(names: Iterable[str]) -> list[str]:
    """What `device_name` was made of."""
    return [name.rpartition(" GPU ")[2] for name in names if " GPU " in name]


def configuration(target: Target) -> dict:
    """The stack of the target with everything filled in, as Docker reads it."""
    command = compose_command(0, "config", "--format", "json")
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(target, devices()[0]))
    return json.loads(done.stdout)


def compose(target: Target, number: int, device: str, *arguments: str) -> None:
    subprocess.run(compose_command(number, *arguments), check=True, env=environment(target, device))


def compose_command(number: int, *arguments: str) -> list[str]:
    """The first device's project has the hub, if this host is one. The target is in the environment."""
    project = PROJECT if number == 0 else f"{PROJECT}-gpu{number}"
    names = ["compose.yaml", "nsight.yaml"] if with_nsight() else ["compose.yaml"]
    files = [word for name in names for word in ("--file", str(CHECKOUT / "compose" / name))]
    command = ["docker", "compose", "--project-name", project, *files]
    return command + ([] if elsewhere() or number else ["--profile", "hub"]) + list(arguments)


def environment(target: Target, device: str) -> dict[str, str]:
    hub = the_hub()
    ours = {"STACK": PROJECT, "TARGET": target.name, "DEVICE": device, "MLFLOW_HOSTS": hub.allowed_hosts}
    ours |= {"SECRETS_DIGEST": digest_of(SECRETS), "DEVICE_NAME": device_name(target, device)}
    ours |= {"NSIGHT_IMAGE": nsight_image(target)}
    return {**os.environ, **ours, "MLFLOW_USERS": "off" if hub.is_local else "on"}


def the_hub() -> Hub:
    redis_port, mlflow_port = (
        int(os.environ.get(name) or default) for name, default in (("HUB_REDIS_PORT", 6379), ("HUB_MLFLOW_PORT", 5000))
    )
    return Hub(os.environ.get("HUB_BIND") or "127.0.0.1", redis_port, mlflow_port, data=Path())


def with_nsight() -> bool:
    return os.environ.get("NSIGHT", "") not in ("", "0")


def nsight_image(target: Target) -> str:
    """The kernel lab's, where somebody asks for it."""
    return f"{target.image}-nsight"


def elsewhere() -> str:
    return os.environ.get("HUB", "")


def devices() -> list[str]:
    """ValueError when one is named twice."""
    named = [device.strip() for device in os.environ.get("DEVICES", "").split(",") if device.strip()] or ["0"]
    if len(set(named)) < len(named):
        raise ValueError(f"DEVICES={','.join(named)} names a device twice: each has one worker")
    return named


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, cwd=CHECKOUT)


def say_what_next(target: Target, hub: Hub) -> None:
    if elsewhere():
        print(f"\n{target.name} works for the hub at {elsewhere()}.")
        return
    login = "" if hub.is_local else "   user viewer, password in .secrets/mlflow_viewer_password"
    queue = f"rq enqueue -S json -q {target.name} services.worker.jobs"
    print(f"\nMLflow   {hub.mlflow_url}{login}")
    for line in pages(target, hub):
        print(line)
    print(f"queue    {hub.redis_address}, passwords in {ENV_FILE.name}")
    print("\nThe first jobs (pip install rq==3.0.0, or make setup):")
    print("  set -a; . ./.env; set +a")
    print(f"  {queue}.prepare corpus=stdlib")
    print(f"  {queue}.train preset=m5-tiny time_budget=60")
    print("  rq info")


def pages(target: Target, hub: Hub) -> list[str]:
    """A line for each target that has runs: its name, and the page that shows val_bpb. None if the worker is away."""
    command = compose_command(0, "exec", "-T", "worker", "python3", "-m", "shared.tracking.pages")
    command += [hub.mlflow_url, target.name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(target, devices()[0]))
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
