"""compose/pin_images.py: names become digests in the bake file, all of them or none. Needs no engine or registry."""

import json
import subprocess

import pytest

from compose import host, pin_images
from shared.settings import CHECKOUT

NAMES = ["python:3.11-slim-bookworm", "debian:bookworm-slim"]


@pytest.fixture
def bake_file(tmp_path):
    """As it is shipped, whether pinned or not."""
    text = (CHECKOUT / "images" / "docker-bake.hcl").read_text()
    (tmp_path / "bake.hcl").write_text(text)
    return tmp_path / "bake.hcl"


@pytest.fixture
def registry(monkeypatch) -> dict[str, str | None]:
    """What it answers to each name; None: nothing."""
    answers: dict[str, str | None] = {name: manifest(number) for number, name in enumerate(NAMES, 1)}

    def output(*command: str) -> str:
        assert command[:4] == ("docker", "buildx", "imagetools", "inspect")
        answer = answers[command[4]]
        if answer is None:
            raise subprocess.CalledProcessError(1, command, stderr="ERROR: no such host\nmore")
        return answer

    monkeypatch.setattr(host, "output", output)
    return answers


def manifest(number: int, architectures=("amd64", "arm64")) -> str:
    images = [{"platform": {"os": "linux", "architecture": name}} for name in architectures]
    return json.dumps({"digest": digest(number), "manifests": [*images, {"digest": "sha256:attestation"}]})


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def test_every_base_is_pinned_and_nothing_else_is_changed(bake_file, registry):
    before = bake_file.read_text()
    assert pin_images.pin(bake_file) == [f"{NAMES[0]}@{digest(1)}", f"{NAMES[1]}@{digest(2)}"]
    after = bake_file.read_text()
    assert f'variable "PYTHON_BASE" {{ default = "{NAMES[0]}@{digest(1)}" }}' in after
    assert f'variable "DEBIAN_BASE" {{ default = "{NAMES[1]}@{digest(2)}" }}' in after
    assert pin_images.BASE.sub(r"\1", after) == pin_images.BASE.sub(r"\1", before)


def test_pinned_again_a_base_is_what_its_name_means_then(bake_file, registry):
    pin_images.pin(bake_file)
    registry[NAMES[0]] = manifest(7)
    pin_images.pin(bake_file)
    text = bake_file.read_text()
    assert digest(7) in text
    assert digest(1) not in text
    assert digest(2) in text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "cannot be looked up: ERROR: no such host"),
        ("", "says no digest"),
        (manifest(2, ["amd64"]), "has no image for linux/arm64"),
        (manifest(2).replace("sha256:0", "sha256:x"), "is no digest"),
    ],
)
def test_when_one_base_cannot_be_pinned_none_is(bake_file, registry, answer, says):
    registry[NAMES[1]] = answer
    before = bake_file.read_text()
    with pytest.raises(ValueError, match=f"^{NAMES[1]} .*{says}"):
        pin_images.pin(bake_file)
    assert bake_file.read_text() == before
