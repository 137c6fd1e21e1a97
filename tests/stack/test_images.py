"""The images: built from pinned versions, tested from inside, without leftovers and secrets, no larger than they were.

Beside each Dockerfile lies a test that runs in its image, as its user: test.py by Python, test.sh where there is none.
"""

import json
import os
import re
import subprocess

import pytest

from shared.machine.targets import TARGETS
from shared.settings import CHECKOUT
from shared.stages.table import STAGES
from tests.stack.containers import TAG, docker
from tests.stack.test_files import baked

pytestmark = pytest.mark.stack

LARGEST_MB = {"redis": 400, "postgres": 800, "mlflow": 1300, "worker": 1000, "executor-cpu": 2000}
GPU_IMAGE = "executor-cuda-sm120-fa4"
"""one of the GPU images, the one with all that can be in them: minutes of downloads, and kernels are compiled"""
LARGEST_MB |= {GPU_IMAGE: 7000}
LEFTOVERS = (
    "find /root/.cache /var/lib/apt/lists /var/cache/apt/archives /tmp /wheels -type f -size +0 2>/dev/null | head -5"
)
TESTING = ["--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777", "--tmpfs", "/run/secrets:mode=1777"]
TESTING += ["--volume", f"{CHECKOUT}/images/checks.py:/test/checks.py:ro"]
TESTING += ["--volume", f"{CHECKOUT}/constraints.txt:/constraints.txt:ro"]


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.slow if name == GPU_IMAGE else ()) for name in LARGEST_MB],
)
def image(request, checkout, bases) -> str:
    """Built as a person would."""
    command, env = ["make", f"build-{request.param}"], {**os.environ, "TAG": TAG, **bases}
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param


def test_an_image_passes_its_own_test(image):
    folder = CHECKOUT / "images" / image.split("-")[0]
    test = next(folder.glob("test.*"))
    runner = {".py": "python3", ".sh": "sh"}[test.suffix]
    run = ["run", "--rm", *TESTING, "--volume", f"{test}:/test/{test.name}:ro", "--entrypoint", runner]
    print(docker(*run, f"autoresearch/{image}:{TAG}", f"/test/{test.name}", timeout_s=180))


def test_an_image_is_no_larger_than_it_should_be(image):
    size_mb = int(docker("image", "inspect", "--format", "{{.Size}}", f"autoresearch/{image}:{TAG}")) / 1e6
    print(f"{image}: {size_mb:.0f} MB, at most {LARGEST_MB[image]}")
    assert size_mb < LARGEST_MB[image]


def test_nothing_of_pip_and_apt_is_left_in_an_image(image):
    run = ["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh", f"autoresearch/{image}:{TAG}"]
    assert docker(*run, "-c", LEFTOVERS) == ""


def test_the_history_of_an_image_holds_no_secret_and_no_address(image):
    """A password in an address, a key, a build argument that became part of a layer."""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", f"autoresearch/{image}:{TAG}")
    configuration = json.loads(
        docker("image", "inspect", "--format", "{{json .Config}}", f"autoresearch/{image}:{TAG}")
    )
    told = history + "\n".join(configuration["Env"])
    assert not re.search(r"://[^/\s]*:[^/\s]*@|(password|token|secret|api_?key)\s*=", told, re.IGNORECASE)
    assert configuration["User"] == "10001:10001"


@pytest.mark.parametrize("name", [target.name for target in TARGETS if target.image])
def test_docker_reads_the_compose_files_of_a_target(bases, name):
    from compose.stack import configuration, find_target

    services = configuration(find_target(name))["services"]
    assert {"redis", "database", "mlflow", "worker", *(stage.name for stage in STAGES)} == set(services)
    assert services["trainer"]["image"].startswith(f"autoresearch/{find_target(name).image}:")


@pytest.mark.parametrize("name", baked())
def test_docker_reads_the_bake_file_of_an_image(bases, name):
    plan = json.loads(docker("buildx", "bake", "--file", str(CHECKOUT / "images" / "docker-bake.hcl"), "--print", name))
    assert (CHECKOUT / plan["target"][name]["dockerfile"]).is_file()
