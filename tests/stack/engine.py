"""A Docker engine and base images for tests of the stack, or a test that is skipped and says why.

PYTHON_BASE, DEBIAN_BASE  base images that are there already; else the Dockerfiles' own when they can be had, else those
                          that .ci/docker-engine makes on a machine where nothing can be pulled
"""

import os
import re
import shutil
import subprocess

import pytest

from shared.settings import CHECKOUT

PULL_TIMEOUT_S, INSTALL_TIMEOUT_S = 120, 900


def base_images() -> dict[str, str]:
    """What the build is to be told; skips the test when there is no engine."""
    if os.environ.get("PYTHON_BASE"):
        named = {name: os.environ[name] for name in ("PYTHON_BASE", "DEBIAN_BASE") if os.environ.get(name)}
        return {"DEBIAN_BASE": named["PYTHON_BASE"], **named}
    if answers() and all(map(is_here, default_bases())):
        return {}
    done = subprocess.run(
        [str(CHECKOUT / ".ci" / "docker-engine")], capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        pytest.skip(f"no Docker engine with a base image can be had: {lines[-1] if lines else done.returncode}")
    return dict.fromkeys(("PYTHON_BASE", "DEBIAN_BASE"), done.stdout.strip())


def answers() -> bool:
    return shutil.which("docker") is not None and _succeeds("info", timeout_s=30)


def default_bases() -> set[str]:
    text = (CHECKOUT / "images" / "docker-bake.hcl").read_text()
    return set(re.findall(r'variable "\w+_BASE" \{ default = "([^"]+)"', text))


def is_here(image: str) -> bool:
    return _succeeds("image", "inspect", image, timeout_s=30) or _succeeds("pull", image, timeout_s=PULL_TIMEOUT_S)


def _succeeds(*arguments: str, timeout_s: float) -> bool:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, timeout=timeout_s).returncode == 0
    except subprocess.TimeoutExpired:
        return False
