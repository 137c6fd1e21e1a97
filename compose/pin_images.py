"""Pins the base images by digest: `python3 -m compose.pin_images` (make pin-images). No package is needed.

Asks the registry which image each name means today, and writes name@sha256:... into images/docker-bake.hcl, so that
every later build starts from the same bytes. Run again, it takes what the names mean then: a base with newer patches.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from compose import host

BAKE_FILE = Path(__file__).resolve().parent.parent / "images" / "docker-bake.hcl"
BASE = re.compile(r'(?<=_BASE" \{ default = ")([^"@]+)(?:@[^"]*)?(?=")')
PLATFORMS = frozenset({"linux/amd64", "linux/arm64"})
"""of the targets: one digest must stand for an image of each"""


def main() -> int:
    try:
        for line in pin(BAKE_FILE):
            print(line)
    except ValueError as error:
        print(f"pin-images: {error}", file=sys.stderr)
        return 1
    return 0


def pin(bake_file: Path) -> list[str]:
    """The pinned names. ValueError when one cannot be resolved; then nothing was written."""
    text = bake_file.read_text()
    pinned = {name: f"{name}@{digest_of(name)}" for name in BASE.findall(text)}
    bake_file.write_text(BASE.sub(lambda found: pinned[found[1]], text))
    return list(pinned.values())


def digest_of(name: str) -> str:
    """Of the list of images for all platforms, as the registry has it now."""
    try:
        said = host.output("docker", "buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}")
        manifest = json.loads(said)
    except FileNotFoundError:
        raise ValueError(f"{name} cannot be looked up: Docker is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{name} cannot be looked up: {host.first_line(error.stderr)}") from None
    except json.JSONDecodeError:
        raise ValueError(f"{name} cannot be looked up: `docker buildx imagetools inspect` says no digest") from None
    if missing := sorted(PLATFORMS - set(platforms(manifest))):
        raise ValueError(f"{name} has no image for {', '.join(missing)}: name another base")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", manifest.get("digest", "")):
        raise ValueError(f"{name} cannot be looked up: {manifest.get('digest')!r} is no digest")
    return manifest["digest"]


def platforms(manifest: dict) -> list[str]:
    described = [image.get("platform") or {} for image in manifest.get("manifests") or ()]
    return [f"{platform.get('os')}/{platform.get('architecture')}" for platform in described]


if __name__ == "__main__":
    sys.exit(main())
