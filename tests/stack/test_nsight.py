"""The kernel lab's image with NVIDIA's profilers: taken by who asks for it, built here from packages of our own.

NVIDIA's repository is not asked: docs/validation/gb10.md says how to try it.
"""

import json
import os
import re
import subprocess

import pytest
import yaml

from compose import stack as command
from shared.machine.targets import TARGETS, find_target
from shared.settings import CHECKOUT
from tests.stack import apt_repository
from tests.stack.apt_repository import Package
from tests.stack.composed import COMPOSE
from tests.stack.containers import TAG, docker
from tests.stack.test_files import BAKE, IMAGES, baked
from tests.stack.test_images import LEFTOVERS, TESTING

ON_NVIDIA = [target for target in TARGETS if target.image and target.name != "cpu"]
IMAGE = f"autoresearch/executor-cpu-nsight:{TAG}"
"""of the test alone: the executor that can be built here, with the stage that others get"""
NSYS = """#!/bin/sh
[ "$1" = --version ] && { echo "NVIDIA Nsight Systems version 2025.5.1"; exit; }
for word; do case "$word" in --output=*) echo recorded > "${word#--output=}.nsys-rep";; esac; done
"""
NCU = """#!/bin/sh
[ -e "$(dirname "$0")/sections" ] || { echo "$0 was not started where it lies"; exit 1; }
[ "$1" = --version ] && { echo "NVIDIA Nsight Compute Version %s"; exit; }
[ "$COUNTERS" = closed ] && { echo "==ERROR== ERR_NVGPUCTRPERM - no permission"; exit 1; }
while [ "$1" != --export ]; do shift; done
echo recorded by %s > "$2"
"""
NSYS_FILE = "/opt/nvidia/nsight-systems-cli/2025.5.1/target-linux-x64/nsys"


def ncu_of(version: str) -> dict[str, str]:
    folder = f"/opt/nvidia/nsight-compute/{version}"
    return {f"{folder}/ncu": NCU.replace("%s", version), f"{folder}/sections": ""}


PACKAGES = [
    Package("nsight-systems-cli", "2025.5.1", {NSYS_FILE: NSYS}, links={"/usr/local/bin/nsys": NSYS_FILE}),
    Package("nsight-compute-2025.4.0", "2025.4.0", ncu_of("2025.4.0")),
    Package("nsight-compute-2025.10.1", "2025.10.1", ncu_of("2025.10.1")),
    Package("nsight-compute", "2025.10.1", depends="nsight-compute-2025.4.0, nsight-compute-2025.10.1"),
]


def test_over_the_stack_nsight_changes_the_image_of_the_kernel_lab_and_nothing_else():
    changed = yaml.safe_load((COMPOSE / "nsight.yaml").read_text())
    image = "autoresearch/${NSIGHT_IMAGE:?make up-<target> NSIGHT=1 sets it}:${TAG:-dev}"
    assert changed == {"services": {"kernel-lab": {"image": image}}}


@pytest.mark.parametrize("target", ON_NVIDIA, ids=lambda target: target.name)
@pytest.mark.parametrize("said", ["1", "0", ""])
def test_only_who_asks_for_nsight_gets_it(monkeypatch, target, said):
    built = []
    monkeypatch.setattr(command, "docker", lambda *words: built.extend(words))
    monkeypatch.setenv("NSIGHT", said)
    command.build(target)
    composed = command.compose_command(1, "up")
    assert (f"{target.image}-nsight" in built) == (said == "1")
    assert (str(COMPOSE / "nsight.yaml") in composed) == (said == "1")
    assert {target.image, "worker"} < set(built)
    assert command.environment(target, "0")["NSIGHT_IMAGE"] in baked()


def test_without_a_gpu_nsight_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("NSIGHT", "1")
    with pytest.raises(ValueError, match=r"^NSIGHT=1: Nsight measures NVIDIA GPUs, and target cpu has none$"):
        command.check(find_target("cpu"))


@pytest.mark.parametrize("name", [name for name in baked() if name.endswith("-nsight")])
def test_an_image_with_nsight_is_the_executor_of_its_name_and_one_stage_more(name):
    executor = name.removesuffix("-nsight")
    assert f'inherits = ["{executor}", "_nsight"]' in baked()[name]
    assert "_nsight" not in baked()[executor]


def test_where_nsight_comes_from_is_an_argument_and_no_version_of_it_is_ours_to_know():
    for argument in ("NSIGHT_REPOSITORY", "NSIGHT_PACKAGES"):
        assert len(re.findall(rf'^variable "{argument}" ', BAKE, re.MULTILINE)) == 1
        assert f"{argument} = {argument}" in BAKE
        assert f"\nARG {argument}\n" in (IMAGES / "executor" / "Dockerfile").read_text()
    assert 'default = "nsight-systems-cli nsight-compute"' in BAKE
    assert "trusted=yes" not in (IMAGES / "executor" / "Dockerfile").read_text()


@pytest.mark.parametrize("target", ON_NVIDIA, ids=lambda target: target.name)
def test_compose_itself_gives_nsight_to_the_kernel_lab_alone(monkeypatch, target):
    if subprocess.run(["sh", "-c", "docker compose version"], capture_output=True).returncode:
        pytest.skip("no docker compose")
    plain = command.configuration(target)["services"]
    monkeypatch.setenv("NSIGHT", "1")
    services = command.configuration(target)["services"]
    assert services["kernel-lab"].pop("image").startswith(f"autoresearch/{target.image}-nsight:")
    plain["kernel-lab"].pop("image")
    assert services == plain, "it is given no more rights"


@pytest.fixture(scope="module")
def repository(bases, tmp_path_factory) -> str:
    """An address that a build reaches."""
    if missing := apt_repository.missing_programs():
        pytest.skip(f"no {', '.join(missing)} to make packages with")
    folder = tmp_path_factory.mktemp("apt")
    apt_repository.make_repository(folder, PACKAGES)
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with apt_repository.served(folder, gateway) as url:
        yield url


def build(checkout, bases, repository: str) -> subprocess.CompletedProcess[str]:
    settings = {"target": "nsight", "tags": IMAGE, "args.NSIGHT_REPOSITORY": repository}
    settings |= {"args.NSIGHT_PACKAGES": "nsight-systems-cli nsight-compute"}
    overrides = [word for name, value in settings.items() for word in ("--set", f"executor-cpu.{name}={value}")]
    bake = ["docker", "buildx", "bake", "--load", "--file", "images/docker-bake.hcl", *overrides, "executor-cpu"]
    env = {**os.environ, **bases}
    return subprocess.run(bake, cwd=checkout, env=env, capture_output=True, text=True, timeout=1200)


@pytest.fixture(scope="module")
def image(bases, checkout, repository) -> str:
    done = build(checkout, bases, repository)
    assert done.returncode == 0, done.stderr[-3000:]
    return IMAGE


def run(image: str, script: str) -> str:
    """With the rights of the service `kernel-lab`: no network, no capability, nothing to write but the lab's folder."""
    rights = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--volume", "/are/kernel_lab"]
    file = CHECKOUT / script
    mounted = ["--volume", f"{file}:/test/{file.name}:ro", "--entrypoint", "python3"]
    return docker("run", "--rm", *TESTING, *rights, *mounted, image, f"/test/{file.name}", timeout_s=180)


@pytest.mark.stack
@pytest.mark.slow
def test_the_lab_in_its_container_finds_nsight_and_says_when_the_counters_are_closed(image):
    found = json.loads(run(image, "tests/stack/nsight_inside.py").splitlines()[-1])
    assert found["which"] == ["/usr/local/bin/nsys", "/usr/local/bin/ncu"]
    for name, suffix in (("capture", ".nsys-rep"), ("deep-profile", ".ncu-rep")):
        assert found[name]["status"] == "ok"
        assert re.fullmatch(rf"/are/kernel_lab/traces/.*{suffix}", found[name]["data"]["path"])
    assert found["closed"][0] == "capture-unavailable"
    assert "NVreg_RestrictProfilingToAdminUsers=0" in found["closed"][1]


@pytest.mark.stack
@pytest.mark.slow
def test_of_several_versions_the_newest_is_on_the_path(image):
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "ncu", image, "--version")
    assert said == "NVIDIA Nsight Compute Version 2025.10.1"


@pytest.mark.stack
@pytest.mark.slow
def test_an_image_with_nsight_is_still_an_executor_without_leftovers(image):
    run(image, "images/executor/test.py")
    as_root = ["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh", image, "-c"]
    assert docker(*as_root, LEFTOVERS) == ""
    assert docker(*as_root, "cat /etc/apt/sources.list.d/nsight.list /etc/apt/keyrings/* 2>/dev/null || true") == ""
    configuration = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    assert configuration["User"] == "10001:10001"
    assert configuration["Entrypoint"] == ["python3", "-m", "services.executor", "/spool"]


@pytest.mark.stack
@pytest.mark.slow
def test_packages_that_the_repositorys_key_did_not_sign_make_no_image(bases, checkout, tmp_path, repository):
    place = apt_repository.make_repository(tmp_path / "one", PACKAGES)
    other = apt_repository.make_repository(tmp_path / "other", PACKAGES)
    (place / "nvidia.pub").write_bytes((other / "nvidia.pub").read_bytes())
    with apt_repository.served(tmp_path / "one", repository.split("/")[2].split(":")[0]) as url:
        done = build(checkout, bases, url)
    assert done.returncode != 0
    assert "NO_PUBKEY" in done.stderr
