"""Targets, compose files, Makefile, bake file and Dockerfiles name the same things. Needs no engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from compose.stack import LOCKS
from shared.machine.targets import TARGETS, find_target
from shared.settings import CHECKOUT
from shared.stages.table import STAGES
from tests.makefile import make_list
from tests.stack.composed import COMPOSE, stack_of

IMAGES = CHECKOUT / "images"
COMPOSE_COMMAND = ["docker", "compose"]
IN_CONTAINERS = [target.name for target in TARGETS if target.image]
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
BAKE = (IMAGES / "docker-bake.hcl").read_text()
STACK = stack_of("cpu")
EXECUTORS = {stage.name: stage for stage in STAGES}
PLACERS = ["worker", *(stage.name for stage in STAGES if stage.places_stages)]
"""services that place work in the spools of stages"""


def baked() -> dict[str, str]:
    """{target: its block} of the bake file, without the ones others inherit from."""
    blocks = re.findall(r'^target "([a-z][^"]*)" \{\n(.*?)^\}', BAKE, flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


def instructions(dockerfile: Path) -> list[str]:
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("target", IN_CONTAINERS)
def test_a_target_gives_its_image_and_its_device_to_the_stages_that_need_it_and_to_no_other(target):
    stack = stack_of(target)
    assert stack.keys() >= EXECUTORS.keys(), "a stage has no block in compose/compose.yaml"
    gpu = find_target(target).architectures != ("cpu",)
    for stage in STAGES:
        image = find_target(target).image if stage.image == "executor" else "worker"
        assert stack[stage.name]["image"] == f"autoresearch/{image}:${{TAG:-dev}}"
        assert ("deploy" in stack[stage.name]) == (gpu and (stage.needs_device or stage.places_stages))
    for name in PLACERS:
        assert (stack[name].get("pid") == "host") == gpu, f"the {name} sees who else computes on the device"


@pytest.mark.parametrize("target", IN_CONTAINERS)
def test_all_that_runs_beside_the_hub_is_of_the_platform_of_the_target(target):
    stack = stack_of(target)
    assert len({stack[name].get("platform") for name in ("worker", *EXECUTORS)}) == 1


@pytest.mark.parametrize("target", IN_CONTAINERS)
def test_a_file_of_a_target_names_no_stage(target):
    described = set(yaml.safe_load((COMPOSE / f"{target}.yaml").read_text())["services"])
    assert described == {"no-device", "device-watcher", "device-executor"}


@pytest.mark.parametrize("target", IN_CONTAINERS)
def test_compose_itself_reads_the_stack_of_a_target_as_these_tests_do(target):
    if shutil.which("docker") is None or subprocess.run([*COMPOSE_COMMAND, "version"], capture_output=True).returncode:
        pytest.skip("no docker compose")
    environment = {**os.environ, "TARGET": target, "MLFLOW_HOSTS": "x", "MLFLOW_USERS": "off", "TAG": "dev"}
    arguments = ["--file", str(COMPOSE / "compose.yaml"), "--profile", "hub", "config", "--format", "json"]
    done = subprocess.run([*COMPOSE_COMMAND, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read, ours = json.loads(done.stdout)["services"], stack_of(target)
    assert read.keys() == ours.keys()
    for name, block in ours.items():
        assert read[name]["image"] == block["image"].replace("${TAG:-dev}", "dev")
        for key in ("platform", "pid", "network_mode"):
            assert read[name].get(key) == block.get(key), (name, key)


def test_every_target_with_an_image_has_its_make_up_and_no_other_does():
    assert sorted(make_list("STACKS")) == sorted(f"up-{name}" for name in IN_CONTAINERS)
    assert {path.stem for path in COMPOSE.glob("*.yaml")} == {*IN_CONTAINERS, "compose", "hardware", "nsight"}


def test_every_image_of_the_table_and_of_the_stack_is_baked_and_has_its_make_build():
    executors = {target.image for target in TARGETS if target.image}
    others = {service["image"].split("/")[1].split(":")[0] for service in STACK.values()}
    with_nsight = {f"{image}-nsight" for image in executors if image != find_target("cpu").image}
    assert set(baked()) == executors | others | with_nsight
    assert sorted(make_list("IMAGES")) == sorted(f"build-{name}" for name in baked())


@pytest.mark.parametrize("name", baked())
def test_an_image_is_tagged_with_its_own_name(name):
    assert f'tags     = ["autoresearch/{name}:${{TAG}}"]' in re.sub(r"tags +=", "tags     =", baked()[name])


@pytest.mark.parametrize("name", [path.stem for path in sorted(COMPOSE.glob("*.yaml"))])
def test_a_compose_file_is_yaml_that_starts_with_what_it_is_for(name):
    text = (COMPOSE / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert yaml.safe_load(text)["services"]


@pytest.mark.parametrize("name", STACK)
def test_every_service_is_without_privileges_and_bounded(name):
    service = STACK[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert service["init"] == (name not in EXECUTORS), "an executor is the first process of its container"
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", STACK)
def test_no_image_comes_from_a_registry_and_other_passwords_make_the_container_anew(name):
    assert STACK[name]["pull_policy"] == "never"
    assert STACK[name]["labels"]["secrets"] == "${SECRETS_DIGEST:-}"


def test_all_stacks_of_a_machine_share_the_volume_of_device_locks_and_no_other():
    volumes = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["volumes"]
    assert volumes["locks"] == {"name": LOCKS, "external": True}
    named = {name: volume["name"] for name, volume in volumes.items() if volume and name != "locks"}
    assert [name for name in named.values() if not name.startswith("${STACK:-autoresearch}-")] == []


@pytest.mark.parametrize("name", [*PLACERS, "kernel-lab"])
def test_whoever_takes_the_device_takes_the_lock_that_all_stacks_share(name):
    assert "locks:/are/locks" in STACK[name]["volumes"]


@pytest.mark.parametrize("name", STACK)
def test_no_container_holds_up_the_end_of_its_engine(name):
    """Patience with an attempt is `make down`'s: an engine that must wait is killed, and all it runs with it."""
    assert STACK[name].get("stop_grace_period", "10s") in ("10s", "30s")


@pytest.mark.parametrize("name", STACK)
def test_a_container_is_started_again_whatever_ended_it(name):
    """An engine that was killed stops what ran, and then starts no container that is `unless-stopped`."""
    assert STACK[name]["restart"] == "always"


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_is_handed_no_password(name):
    service = STACK[name]
    assert "secrets" not in service
    assert not EXECUTORS[name].runs_untrusted_code or service["network_mode"] == "none"
    assert {"pids_limit", "mem_limit", "memswap_limit"} <= set(service)


def test_the_stages_of_the_table_are_the_executors_of_the_stack():
    assert {name for name, service in STACK.items() if not service["init"]} == set(EXECUTORS)


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_runs_the_stage_of_its_name_from_a_spool_it_shares_with_those_who_place_work_alone(name):
    service, in_worker = STACK[name], EXECUTORS[name].image == "worker"
    assert service["command"] == (["services.executor", "/spool", name] if in_worker else [name])
    mount = f"spool-{name}:/spool/{name}"
    users = [user for user, block in STACK.items() if mount in block.get("volumes", [])]
    assert set(users) == {*PLACERS, name}
    if name not in PLACERS:
        assert [volume for volume in service["volumes"] if volume.startswith("spool-")] == [mount]
    assert f"spool-{name}" in yaml.safe_load((COMPOSE / "compose.yaml").read_text())["volumes"]
    assert name in STACK["worker"]["depends_on"]


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_stage_is_a_folder_of_services_with_a_main(name):
    assert (CHECKOUT / "services" / EXECUTORS[name].folder / "__main__.py").is_file()


def test_the_page_of_the_stack_names_every_target_that_can_be_brought_up():
    page = (CHECKOUT / "docs" / "stack.md").read_text()
    assert [name for name in IN_CONTAINERS if not re.search(rf"\bup-{name}\b", page)] == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_has_its_line_in_the_table_of_what_a_container_may_use(stage):
    lines = (CHECKOUT / "docs" / "stack.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith(f"| {stage.name} |")]) == 1


def test_images_follow_the_table_of_stages():
    assert "-m shared.stages.table executor" in (IMAGES / "executor" / "Dockerfile").read_text()
    assert "-m shared.stages.table worker executor" in (IMAGES / "worker" / "Dockerfile").read_text()
    entry = 'ENTRYPOINT ["python3", "-m", "services.executor", "/spool"]'
    assert entry in instructions(IMAGES / "executor" / "Dockerfile")


@pytest.mark.parametrize("image", ["executor", "worker"])
def test_an_image_whose_processes_can_keep_nothing_has_their_code_compiled(image):
    lines = instructions(IMAGES / image / "Dockerfile")
    (compiled,) = [number for number, line in enumerate(lines) if "compileall" in line]
    assert all(f" {folder}" in lines[compiled] for folder in ("shared", "kernels", "services"))
    assert max(number for number, line in enumerate(lines) if line.startswith("COPY")) <= compiled + 1


def test_only_those_who_score_or_make_validation_rows_have_them():
    has_rows = {name for name, service in STACK.items() if any("validation:" in v for v in service.get("volumes", []))}
    assert has_rows == {"prepare", "evaluator"}


def test_ports_are_on_loopback_unless_somebody_asks():
    ports = [port for service in STACK.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("${HUB_BIND:-127.0.0.1}:") for port in ports)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_dockerfile_builds_from_arguments_without_a_frontend_that_is_pulled(dockerfile):
    text = dockerfile.read_text()
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", text, flags=re.MULTILINE)
    assert bases
    assert all(base in stages or re.fullmatch(r"\$\{(PYTHON|DEBIAN)_BASE\}", base) for base in bases)
    assert "syntax=" not in text
    assert "<<" not in text, "Docker 20.10 knows no heredocs"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_runs_as_one_user_who_is_not_root_and_holds_no_secret(dockerfile):
    lines = instructions(dockerfile)
    assert [line for line in lines if line.startswith("USER ")][-1] in ("USER 10001:10001", "USER 10001")
    after = lines[max(number for number, line in enumerate(lines) if line.startswith("USER ")) :]
    assert not [line for line in after if line.startswith(("RUN", "ADD", "FROM"))]
    named = [line for line in lines if line.startswith(("ARG ", "ENV "))]
    assert not [line for line in named if re.search("password|secret|token|_key|credential", line, re.IGNORECASE)]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_has_a_test_beside_its_dockerfile(dockerfile):
    assert len(list(dockerfile.parent.glob("test.*"))) == 1
