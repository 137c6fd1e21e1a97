"""A signed apt repository of small packages, made and served by a test: a flat folder, as NVIDIA's tools are published.

The packages hold shell scripts of the test: nothing of NVIDIA is in them.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

NEEDED = ("dpkg-deb", "dpkg", "gpg")


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    programs: Mapping[str, str] = field(default_factory=dict)
    """{path: text}"""
    links: Mapping[str, str] = field(default_factory=dict)
    """{path: what it points to}"""
    depends: str = ""

    @property
    def control(self) -> str:
        depends = f"Depends: {self.depends}\n" if self.depends else ""
        return (
            f"Package: {self.name}\nVersion: {self.version}\nArchitecture: {architecture()}\n{depends}"
            "Maintainer: a test <test@localhost>\nDescription: made by a test\n"
        )


def architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def missing_programs() -> list[str]:
    return [name for name in NEEDED if shutil.which(name) is None]


def make_repository(folder: Path, packages: list[Package]) -> Path:
    """folder/ARCHITECTURE with Packages, InRelease and nvidia.pub. Gives that folder."""
    place = folder / architecture()
    place.mkdir(parents=True)
    listed = "\n".join(_described(_build(package, folder / "unpacked", place), package) for package in packages)
    content = listed.encode()
    (place / "Packages").write_bytes(content)
    release = f"Date: Mon, 01 Jan 2024 00:00:00 UTC\nSHA256:\n {_sha256(content)} {len(content)} Packages\n"
    _sign(place, release)
    return place


def _build(package: Package, scratch: Path, place: Path) -> Path:
    root = scratch / package.name
    for path, text in package.programs.items():
        program = root / path.lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    for path, target in package.links.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).symlink_to(target)
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(package.control)
    file = place / f"{package.name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, file], check=True, capture_output=True)
    return file


def _described(file: Path, package: Package) -> str:
    content = file.read_bytes()
    return f"{package.control}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {_sha256(content)}\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sign(place: Path, release: str) -> None:
    """With a key that exists only for this."""
    home = tempfile.mkdtemp(prefix="gpg-")  # short: a socket's path has 108 characters
    gpg = ["gpg", "--homedir", home, "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        subprocess.run([*gpg, "--quick-generate-key", "a test", "rsa2048"], check=True, capture_output=True)
        (place / "Release").write_text(release)
        signed = [*gpg, "--clearsign", "--output", place / "InRelease", place / "Release"]
        subprocess.run(signed, check=True, capture_output=True)
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
        (place / "nvidia.pub").write_bytes(key)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Its URL, on an address of this host that containers reach."""
    server = ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
