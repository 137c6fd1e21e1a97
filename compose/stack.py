"""Brings the stack of a target up and down: `python3 -m compose.stack up gb10` (make up-gb10). No package is needed.

HUB=host       workers only, against a hub elsewhere, whose .env lies in this checkout
HUB_BIND=addr  opens the hub on that address; then MLflow asks for a password
DEVICES=0,1    one worker and one set of executors for each of these GPUs
STACK=name     another stack beside the first on the same engine, with volumes and networks of its own
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from compose import host
from compose.passwords import digest_of, forget_passwords, keep_hub_secrets, keep_worker_secrets
from services.hub.credentials import Hub, read_env, write_private
from shared.machine.targets import TARGETS, Target, driver_problem, find_target

CHECKOUT = Path(__file__).resolve().parent.parent
SECRETS, ENV_FILE = CHECKOUT / ".secrets", CHECKOUT / ".env"
PROJECT = os.environ.get("STACK") or "autoresearch"
OWNER = "STACK_OF_THIS_CHECKOUT"
HUB_SERVICES = ["redis", "database", "mlflow"]
WORKER_START_S, ASK_EVERY_S = 120, 0.5
PATIENCE_S, HURRY_S, LAST_S = 7200, 10, 30
"""for an attempt to end: training, evaluation and what is waited for on the way; with NOW=1; for all the others"""


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
        if asked.command in ("up", "check"):
            return {"up": up, "check": check}[asked.command](find_target(asked.target))
        return {"down": down, "logs": logs, "ps": ps, "doctor": doctor, "rotate": rotate}[asked.command]()
    except ValueError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"stack: `{' '.join(error.cmd[:4])} ...` failed: {error.stderr or 'see above'}", file=sys.stderr)
        return 1


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
    let_attempts_end(target)
    for number, device in enumerate(devices()):
        compose(target, number, device, "up", "--detach", "--remove-orphans")
        if number == 0 and not elsewhere():
            compose(target, number, device, "up", "--detach", "--wait", "--no-deps", "--no-recreate", *HUB_SERVICES)
        await_worker(target, number, device)
    say_what_next(target, hub)
    return 0


def await_worker(target: Target, number: int, device: str) -> None:
    """Until the hub knows it. It is asked, since Docker looks for the first time after half a minute."""
    command = compose_command(number, "exec", "-T", "worker", "python3", "-m", "services.worker.health")
    give_up = time.monotonic() + WORKER_START_S
    while (done := subprocess.run(command, capture_output=True, text=True, env=environment(target, device))).returncode:
        if time.monotonic() > give_up:
            reason = done.stderr.strip() or f"the hub does not know it after {WORKER_START_S} s"
            raise subprocess.CalledProcessError(done.returncode, command, stderr=f"{reason}; look at `make logs`")
        time.sleep(ASK_EVERY_S)


def refuse_another_stack() -> None:
    """One stack a checkout, for .env and .secrets are one stack's. ValueError when they are another's."""
    owner = read_env(ENV_FILE).get(OWNER, PROJECT)
    if owner != PROJECT and not elsewhere():  # a host with workers only has the hub's .env
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
    """Exit code 2 and a line for each thing that is missing."""
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
    docker("buildx", "bake", "--load", "--file", str(CHECKOUT / "images" / "docker-bake.hcl"), *images)


def down() -> int:
    """Attempts end first, unless NOW=1. Volumes stay."""
    patience_s = HURRY_S if os.environ.get("NOW") else PATIENCE_S
    for project in sorted(projects(), reverse=True):  # the hub's last
        docker("compose", "--project-name", project, "stop", "--timeout", str(patience_s), "worker")
        docker("compose", "--project-name", project, "down", "--timeout", str(min(patience_s, LAST_S)))
    return 0


def logs() -> int:
    """Of all devices at once, until Ctrl-C."""
    commands = [
        ["docker", "compose", "--project-name", name, "logs", "--follow", "--tail", "100"]
        for name in sorted(projects())
    ]
    followed = [subprocess.Popen(command, cwd=CHECKOUT) for command in commands]
    try:
        return max((process.wait() for process in followed), default=0)
    except KeyboardInterrupt:
        return 130


def rotate() -> int:
    """New passwords at the next `make up-<target>`, which makes the containers anew. Other hosts need the new .env."""
    if elsewhere():
        raise ValueError("the passwords are the hub's: run make rotate there, and copy its new .env here")
    forget_passwords(SECRETS, ENV_FILE)
    print(f"the passwords in {SECRETS.name} and {ENV_FILE.name} are forgotten. Now run make up-<target>: it makes new")
    print(
        "ones and restarts the hub and the workers. Then copy .env to every other host and run make up-<target> there"
    )
    return 0


def ps() -> int:
    for project in sorted(projects()):
        docker("compose", "--project-name", project, "ps", "--all")
    return 0


def doctor() -> int:
    """This host as Docker sees it, then the worker's own look at queue, tracking, device and disk."""
    if problem := host.engine_problem():
        print(f"fix  {problem}")
        return 1
    print("ok   Docker", host.output("docker", "version", "--format", "{{.Server.Version}}"))
    gpus = host.gpus(devices())
    for name, architecture in gpus:
        print(f"ok   {name} ({architecture}): target {host.target_of_gpu(name, architecture) or 'none'}")
    for line in host.toolkit_problems() if gpus else ():
        print(f"fix  {line}")
    if gpus and (problem := driver_problem(host.driver_version())):
        print(f"fix  {problem}")
    running = sorted(projects())
    if not running:
        print("look nothing runs: make up-<target>")
    return max((doctor_of(project) for project in running), default=0)


def doctor_of(project: str) -> int:
    """One worker for each device."""
    print(f"{project}:", flush=True)
    command = ["docker", "compose", "--project-name", project, "exec", "-T", "worker", "autoresearch", "doctor"]
    return subprocess.run(command, env=environment(find_target("cpu"), "0")).returncode


def projects() -> set[str]:
    found = json.loads(host.output("docker", "compose", "ls", "--all", "--format", "json"))
    return {project["Name"] for project in found if re.fullmatch(rf"{PROJECT}(-gpu\d+)?", project["Name"])}


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
    command = ["docker", "compose", "--project-name", project, "--file", str(CHECKOUT / "compose" / "compose.yaml")]
    return command + ([] if elsewhere() or number else ["--profile", "hub"]) + list(arguments)


def environment(target: Target, device: str) -> dict[str, str]:
    hub = the_hub()
    ours = {"STACK": PROJECT, "TARGET": target.name, "DEVICE": device, "MLFLOW_HOSTS": hub.allowed_hosts}
    ours["SECRETS_DIGEST"] = digest_of(SECRETS)
    return {**os.environ, **ours, "MLFLOW_USERS": "off" if hub.is_local else "on"}


def the_hub() -> Hub:
    redis_port, mlflow_port = (
        int(os.environ.get(name) or default) for name, default in (("HUB_REDIS_PORT", 6379), ("HUB_MLFLOW_PORT", 5000))
    )
    return Hub(os.environ.get("HUB_BIND") or "127.0.0.1", redis_port, mlflow_port, data=Path())


def elsewhere() -> str:
    return os.environ.get("HUB", "")


def devices() -> list[str]:
    return os.environ.get("DEVICES", "0").split(",")


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
