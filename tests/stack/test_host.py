"""compose/host.py: what is wrong with a host, one clear line each, from what commands would print there."""

import json
import shutil
import socket
import subprocess
from collections import namedtuple

import pytest

from compose import host
from shared.machine.targets import find_target
from tests.stack.composed import stack_of

GIB = 2**30
GOOD = {
    "docker version": '{"Version": "28.1.1", "Components": [{"Name": "Engine", "Version": "28.1.1"}]}',
    "docker --version": "Docker version 28.1.1, build 4eba377",
    "docker compose": "Docker Compose version v2.35.1",
    "docker buildx": "github.com/docker/buildx v0.23.0 28c90ea",
    "docker image": None,
    "nvidia-ctk --version": "NVIDIA Container Toolkit CLI version 1.17.8\ncommit: 1",
    "nvidia-smi --id=0": "NVIDIA H100 80GB HBM3, 9.0",
    "nvidia-smi --query-gpu=driver_version": "580.65.06",
}
INFO = {
    "Architecture": "x86_64",
    "MemTotal": 256 * GIB,
    "DockerRootDir": "/var/lib/docker",
    "Runtimes": {"runc": {}, "nvidia": {}},
}
DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A host on which all is well; `says` changes what a command answers, None makes it fail."""

    class Machine:
        answers, info, programs, free = dict(GOOD), dict(INFO), {"docker", "nvidia-ctk", "nvidia-smi"}, 10**12

        def says(self, command: str, text: str | None) -> None:
            self.answers[command] = text

        def problems(self, target="h100", mem_limit=64 * GIB, shm_size=GIB, ports=()) -> list[str]:
            trainer = {"mem_limit": str(mem_limit), "shm_size": str(shm_size), "image": "executor"}
            trainer |= {} if target == "cpu" else {"platform": stack_of(target)["trainer"]["platform"]}
            return list(host.problems(find_target(target), ["0"], {"services": {"trainer": trainer}}, list(ports)))

    machine = Machine()
    machine.info["DockerRootDir"] = str(tmp_path)

    def output(*command: str) -> str:
        if command[:2] == ("docker", "info"):
            return json.dumps(machine.info)
        text = machine.answers[" ".join(command[:2])]
        if text is None:
            raise subprocess.CalledProcessError(1, command, stderr="Cannot connect to the Docker daemon\nmore")
        return text

    monkeypatch.setattr(host, "output", output)
    monkeypatch.setattr(host, "kernel_problem", lambda: "")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in machine.programs else None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(0, 0, machine.free))
    return machine


def only(lines: list[str]) -> str:
    assert len(lines) == 1, lines
    assert "\n" not in lines[0]
    return lines[0]


def test_a_good_host_has_no_problem(machine):
    assert machine.problems() == []


def test_without_docker_one_line_says_where_to_get_it(machine):
    machine.programs.clear()
    assert "not installed" in only(machine.problems())


def test_an_engine_that_does_not_answer_is_named_with_its_own_words(machine):
    machine.says("docker version", None)
    assert "Cannot connect to the Docker daemon" in only(machine.problems())


def test_an_old_engine_is_told_the_oldest_that_will_do(machine):
    machine.says("docker version", '{"Version": "19.03.8"}')
    assert only(machine.problems()) == "Docker 19.03.8 is too old: 20.10 or newer"


def test_an_old_compose_is_told_the_oldest_that_will_do(machine):
    machine.says("docker compose", "Docker Compose version v2.17.3")
    assert "2.20.2 or newer" in only(machine.problems())


@pytest.mark.parametrize("plugin", ["compose", "buildx"])
def test_a_missing_plugin_is_named_with_its_package(machine, plugin):
    machine.says(f"docker {plugin}", None)
    assert f"docker-{plugin}-plugin" in only(machine.problems())


def test_images_are_built_where_they_run_so_the_architecture_must_be_the_targets(machine):
    machine.info["Architecture"] = "aarch64"
    assert only(machine.problems()) == "h100 is x86_64, this host is aarch64: choose another target"


def test_the_cpu_stack_runs_on_any_architecture_and_needs_no_gpu(machine):
    machine.info["Architecture"] = "aarch64"
    machine.programs = {"docker"}
    assert machine.problems("cpu") == []


def test_a_full_disk_says_how_much_is_free_and_needed(machine):
    machine.free = 7e9
    assert "7 GB are free" in only(machine.problems())
    machine.says("docker image", "sha256:1")  # built already: what is left to write is little
    assert machine.problems() == []


def test_more_memory_than_there_is_comes_with_a_setting_that_fits(machine):
    machine.info["MemTotal"] = 32 * GIB
    line = only(machine.problems(mem_limit=64 * GIB))
    assert "64 GiB" in line
    assert "EXECUTOR_MEMORY=25g" in line


def test_shared_memory_must_leave_half_of_the_host(machine):
    machine.info["MemTotal"] = 16 * GIB
    assert "shared memory of 16 GiB" in only(machine.problems(mem_limit=8 * GIB, shm_size=16 * GIB))


def test_a_kernel_without_landlock_says_how_to_boot_it(tmp_path):
    modules = tmp_path / "lsm"
    assert host.kernel_problem(modules) == ""
    modules.write_text("capability,yama,apparmor\n")
    assert "lsm=landlock,capability,yama,apparmor" in host.kernel_problem(modules)
    modules.write_text("capability,landlock\n")
    assert host.kernel_problem(modules) == ""


def test_a_version_somebody_built_himself_has_no_number_and_is_taken(machine):
    machine.says("docker compose", "Docker Compose version dev")
    assert machine.problems() == []


@pytest.mark.parametrize("version", ["4.9.3", "5.0.0-dev", "3.4.4+ds1", ""])
def test_podman_is_refused_by_its_name_and_not_as_an_old_docker(machine, version):
    machine.says("docker --version", f"podman version {version}".strip())
    machine.says("docker version", None)  # without its service it does not answer
    assert f"`docker` is podman version {version}".strip() in only(machine.problems())


def test_podmans_engine_behind_dockers_own_command_is_refused_by_its_name(machine):
    server = {"Version": "4.9.3", "Components": [{"Name": "Podman Engine", "Version": "4.9.3"}, {"Name": "Conmon"}]}
    machine.says("docker version", json.dumps(server))
    assert "`docker` is Podman Engine 4.9.3 here" in only(machine.problems())


@pytest.mark.parametrize("said", ["", "null", "{}", '{"Version": ""}', '{"Components": null}', "28.1"])
def test_an_engine_that_says_nothing_is_one_line(machine, said):
    machine.says("docker version", said)
    assert "is its engine running?" in only(machine.problems()) or "is the engine running?" in only(machine.problems())


def test_what_an_engine_leaves_empty_is_no_traceback(machine):
    machine.info |= dict.fromkeys(["OperatingSystem", "KernelVersion", "SecurityOptions"])
    assert machine.problems() == []
    assert list(host.notes(machine.info)) == []
    machine.info["Runtimes"] = None
    assert "nvidia-ctk runtime configure" in only(machine.problems())


@pytest.mark.parametrize("said", ["", "nvidia-ctk: cannot open display", None])
def test_a_toolkit_that_says_no_version_is_no_traceback(machine, said):
    machine.says("nvidia-ctk --version", said)
    assert "`nvidia-ctk --version` says no version" in only(machine.problems())


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({}, "does not say Architecture, MemTotal, DockerRootDir"),
        ({"ServerErrors": ["Cannot connect\nmore"]}, "Cannot connect"),
        (None, "`docker info` says nothing"),
        (["Architecture"], "`docker info` says nothing"),
    ],
)
def test_an_answer_without_what_is_needed_is_one_line(machine, info, says):
    machine.info = info
    assert says in only(machine.problems())


def test_virtual_machines_in_which_nobody_sees_who_else_computes_are_refused_with_a_gpu_by_name(machine):
    machine.info["KernelVersion"] = "5.15.167.4-microsoft-standard-WSL2"
    assert "WSL2 is not supported with a GPU" in only(machine.problems())
    machine.info["OperatingSystem"] = "Docker Desktop"
    assert "Docker Desktop is not supported with a GPU" in only(machine.problems())
    machine.programs = {"docker"}
    assert machine.problems("cpu") == []


def test_limits_that_an_engine_cannot_enforce_are_said():
    assert list(host.notes({"MemoryLimit": True, "PidsLimit": True, "SwapLimit": True})) == []
    rootless = {"MemoryLimit": False, "PidsLimit": False, "SecurityOptions": ["name=seccomp", "name=rootless"]}
    line = only(list(host.notes(rootless)))
    assert "cannot limit memory, number of processes" in line
    assert "delegation" in line


def test_a_driver_too_old_for_the_packages_is_told_the_oldest_that_will_do(machine):
    machine.says("nvidia-smi --query-gpu=driver_version", "570.133.20")
    assert "580 or newer" in only(machine.problems())


def test_a_missing_toolkit_says_where_to_read_on(machine):
    machine.programs = {"docker", "nvidia-smi"}
    assert "docs/" in only(machine.problems())


def test_a_toolkit_with_known_escapes_is_refused(machine):
    machine.says("nvidia-ctk --version", "NVIDIA Container Toolkit CLI version 1.16.1\ncommit: 1")
    line = only(machine.problems())
    assert "CVE-" in line
    assert "1.17.8 or newer" in line


def test_a_runtime_docker_does_not_know_comes_with_the_command(machine):
    machine.info["Runtimes"] = {"runc": {}}
    assert "nvidia-ctk runtime configure" in only(machine.problems())


def test_another_gpu_than_the_targets_is_named_with_its_own_target(machine):
    machine.says("nvidia-smi --id=0", "NVIDIA GB10, 12.1")
    assert only(machine.problems()) == "NVIDIA GB10 (sm_121) is no h100: make up-gb10"


@pytest.mark.parametrize(
    ("name", "capability", "target"),
    [
        ("NVIDIA H200", "9.0", "h200"),
        ("NVIDIA B200", "10.0", "b200"),
        ("NVIDIA GH200 480GB", "9.0", "gh200"),
        ("NVIDIA A100-SXM4-80GB", "8.0", "a100"),
        ("NVIDIA GeForce RTX 5090", "12.0", "rtx50"),
        ("NVIDIA L40S", "8.9", "l40s"),
        ("NVIDIA GeForce RTX 4090", "8.9", "rtx40"),
    ],
)
def test_a_gpu_is_taken_by_its_own_target_only(machine, name, capability, target):
    machine.says("nvidia-smi --id=0", f"{name}, {capability}")
    if target == "gh200":
        machine.info["Architecture"] = "aarch64"
    assert machine.problems(target) == []
    machine.info["Architecture"] = "x86_64"
    assert f"make up-{target}" in only(machine.problems())


def test_a_gpu_that_runs_the_targets_code_will_do(machine):
    machine.says("nvidia-smi --id=0", "NVIDIA B300, 10.3")
    assert machine.problems("b200") == []


def test_no_gpu_at_all_is_said(machine):
    machine.programs = {"docker", "nvidia-ctk"}
    assert "nvidia-smi" in only(machine.problems())


def test_a_taken_port_is_named_with_what_to_set(machine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} is taken" in only(machine.problems(ports=[("127.0.0.1", port)]))


def test_several_problems_are_all_told_at_once(machine):
    machine.free, machine.programs = 1e9, {"docker", "nvidia-smi"}
    assert len(machine.problems()) == 2
