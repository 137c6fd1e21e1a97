"""One set of pinned versions, read by pip from constraints.txt and by uv from pyproject.toml."""

import re
import tomllib

from shared.settings import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def test_uv_is_told_the_versions_that_pip_is():
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    assert PROJECT["tool"]["uv"]["constraint-dependencies"] == [line for line in lines if not line.startswith("#")]


def test_a_plain_uv_sync_installs_what_make_setup_does():
    (extras,) = re.findall(r"-e '(\.\[data.*\])'", (CHECKOUT / "Makefile").read_text())
    assert PROJECT["dependency-groups"]["dev"] == [extras.replace(".", PROJECT["project"]["name"])]
