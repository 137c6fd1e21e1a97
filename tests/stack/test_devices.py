"""compose/stack.py with several devices and several stacks, against a program that answers as Docker's command does."""

import os
import sys

import pytest

from compose import stack
from shared.machine.targets import find_target

DOCKER = """#!{python}
import json, pathlib, sys
words, here = sys.argv[1:], pathlib.Path(__file__).parent
with open(here / "calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
if words[:2] == ["compose", "ls"]:
    print((here / "projects").read_text())
elif words[0] == "ps":
    print({{"one": "h100 GPU 2", "one-gpu1": "h100 GPU GPU-7f"}}.get(words[3].rpartition("=")[2], ""))
elif "logs" in words:
    print("worker-1  | of", words[2])
elif "services.worker.health" in words:
    (here / "asked").open("a").write(".")
    if (here / "asked").stat().st_size < 3:
        sys.exit("Connection refused")
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Calls of it so far."""
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "projects").write_text('[{"Name": "one"}, {"Name": "one-gpu1"}, {"Name": "two"}]')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(stack, "PROJECT", "one")
    monkeypatch.setattr(stack, "SECRETS", tmp_path / ".secrets")
    monkeypatch.setattr(stack, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setattr(stack, "LOOK_S", 0.0)
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_each_line_of_the_logs_names_its_device(docker, capfd):
    assert stack.logs() == 0
    lines = sorted(capfd.readouterr().out.splitlines())
    assert lines == ["h100 GPU 2  worker-1  | of one", "h100 GPU GPU-7f  worker-1  | of one-gpu1"]


def test_the_logs_of_one_device_are_as_docker_prints_them(docker, tmp_path, capfd):
    (tmp_path / "projects").write_text('[{"Name": "one"}]')
    assert stack.logs() == 0
    assert capfd.readouterr().out == "worker-1  | of one\n"


@pytest.mark.parametrize("nothing", ["", "null", "[]"])
def test_without_a_stack_the_logs_say_so(docker, tmp_path, capfd, nothing):
    (tmp_path / "projects").write_text(nothing)
    assert stack.logs() == 0
    assert "nothing runs: make up-<target>" in capfd.readouterr().err


def test_doctor_asks_the_worker_of_every_device_by_its_name(docker, monkeypatch, capfd):
    monkeypatch.setattr(stack.host, "engine_problem", lambda: "")
    monkeypatch.setattr(stack.host, "engine_version", lambda: "28.1.1")
    monkeypatch.setattr(stack.host, "engine_info", lambda: {"PidsLimit": False})
    monkeypatch.setattr(stack.host, "gpus", lambda gpus: [("NVIDIA H100 80GB HBM3", "sm_90")])
    monkeypatch.setattr(stack.host, "toolkit_problems", lambda: [])
    monkeypatch.setattr(stack.host, "driver_version", lambda: "580.65.06")
    assert stack.doctor() == 0
    said = capfd.readouterr().out
    assert "look this engine cannot limit number of processes" in said
    for gpu, project in (("2", "one"), ("GPU-7f", "one-gpu1")):
        assert f"ok   GPU {gpu}, NVIDIA H100 80GB HBM3 (sm_90): target h100" in said
        assert f"{project} (h100 GPU {gpu}):" in said
        assert f"compose --project-name {project} exec -T worker autoresearch doctor" in docker()


def test_up_goes_on_as_soon_as_the_worker_has_reached_its_hub(docker, tmp_path):
    stack.await_worker(find_target("cpu"), 0, "0")
    assert len(docker()) == 3


def test_a_worker_that_does_not_reach_its_hub_is_named_with_its_own_words(docker, monkeypatch):
    monkeypatch.setattr(stack, "WORKER_S", -1)
    with pytest.raises(ValueError, match=r"the worker of h100 GPU 3 .*\(Connection refused\): make logs"):
        stack.await_worker(find_target("h100"), 1, "3")


def test_a_device_that_is_named_twice_is_refused(monkeypatch):
    monkeypatch.setenv("DEVICES", "0, 1,0")
    with pytest.raises(ValueError, match="names a device twice"):
        stack.devices()
    monkeypatch.setenv("DEVICES", "2, GPU-7f,")
    assert stack.devices() == ["2", "GPU-7f"]
    monkeypatch.setenv("DEVICES", "")
    assert stack.devices() == ["0"]


def test_a_checkout_that_cannot_be_written_is_one_line(docker, monkeypatch, capfd):
    monkeypatch.setattr(stack, "SECRETS", stack.ENV_FILE / "below a file")
    stack.ENV_FILE.write_text("")
    monkeypatch.setattr(stack, "check", lambda target: 0)
    monkeypatch.setattr(sys, "argv", ["stack", "up", "cpu"])
    assert stack.main() == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "use one that you may write" in error


def test_without_docker_a_command_of_the_stack_is_one_line(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stack", "logs"])
    assert stack.main() == 2
    assert capfd.readouterr().err == "stack: Docker is not installed: docs.docker.com/engine/install\n"


@pytest.mark.parametrize("name", ["two-gpu1", "Two", "-two", "t wo"])
def test_a_name_that_would_be_taken_for_something_else_is_refused(name):
    with pytest.raises(ValueError, match=r"^STACK="):
        stack.check_name(name)
    stack.check_name("two-gpus")


def test_another_stack_takes_neither_the_passwords_nor_the_addresses_of_the_hub_in_its_checkout(docker, monkeypatch):
    stack.SECRETS.mkdir()
    stack.ENV_FILE.write_text(f"{stack.OWNER}=one\n")
    monkeypatch.setattr(stack, "PROJECT", "two")
    monkeypatch.setenv("HUB", "hub.local")
    stack.refuse_another_stack()  # a host with workers only, and the .env of its hub
    (stack.SECRETS / "redis_users").write_text("hub")
    for hub in ("hub.local", ""):
        monkeypatch.setenv("HUB", hub)
        with pytest.raises(ValueError, match="belong to stack one, so two needs a checkout of its own"):
            stack.refuse_another_stack()
    with pytest.raises(ValueError, match="belong to stack one"):
        stack.rotate()
