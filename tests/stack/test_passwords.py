"""compose/passwords.py and compose/stack.py where no engine is needed: files, modes, addresses, plain Python."""

import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from compose.passwords import at_host, digest_of, forget_passwords, keep_hub_secrets, keep_worker_secrets
from services.hub.credentials import Hub, read_env
from shared.settings import CHECKOUT

LOCAL = Hub("127.0.0.1", 6379, 5000, Path())


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture
def places(tmp_path) -> tuple[Path, Path]:
    return tmp_path / ".secrets", tmp_path / ".env"


def test_passwords_are_made_once_and_kept(places):
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    first = contents(places[0])
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    assert contents(places[0]) == first
    made = [first[name] for name in ("database_password", "mlflow_admin_password", "mlflow_viewer_password")]
    assert len(set(made)) == 3
    assert all(len(password) >= 24 for password in made)


def test_rotated_passwords_are_all_others_and_change_the_digest_that_makes_containers_anew(places):
    keep_hub_secrets(*places, LOCAL, asks_for_password=True)
    with open(places[1], "a") as env:
        env.write("MINE=kept\n")
    before, digest, agent = contents(places[0]), digest_of(places[0]), read_env(places[1])["HUB_AGENT_PASSWORD"]
    keep_hub_secrets(*places, LOCAL, asks_for_password=True)
    assert digest_of(places[0]) == digest
    forget_passwords(*places)
    keep_hub_secrets(*places, LOCAL, asks_for_password=True)
    after = contents(places[0])
    assert [name for name in before if before[name] == after[name]] == []
    assert digest_of(places[0]) != digest
    assert read_env(places[1])["HUB_AGENT_PASSWORD"] != agent
    assert read_env(places[1])["MINE"] == "kept"


def test_a_second_stack_in_a_checkout_is_refused_before_it_takes_the_first_ones_passwords(places, monkeypatch):
    from compose import stack

    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    monkeypatch.setattr(stack, "ENV_FILE", places[1])
    for name in ("first", "first"):
        monkeypatch.setattr(stack, "PROJECT", name)
        stack.refuse_another_stack()
        stack.claim_checkout()
    assert places[1].read_text().count("STACK_OF_THIS_CHECKOUT=first") == 1
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    monkeypatch.setattr(stack, "PROJECT", "second")
    with pytest.raises(ValueError, match="belong to stack first, so second needs a checkout of its own"):
        stack.refuse_another_stack()


def test_secrets_are_readable_for_a_container_in_a_folder_for_nobody_else(places):
    for _ in range(2):
        keep_hub_secrets(*places, LOCAL, asks_for_password=False)
        assert stat.S_IMODE(places[0].stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in places[0].iterdir()} == {0o444}
    assert stat.S_IMODE(places[1].stat().st_mode) == 0o600


def test_a_container_that_runs_keeps_the_file_it_was_given(places):
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    before = {file.name: file.stat().st_ino for file in places[0].iterdir()}
    keep_hub_secrets(*places, LOCAL, asks_for_password=True)
    assert {file.name: file.stat().st_ino for file in places[0].iterdir()} == before


def test_the_worker_of_the_hub_reaches_it_by_the_names_of_the_network(places):
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    secrets, env = contents(places[0]), read_env(places[1])
    assert urlsplit(secrets["are_worker_redis_url"]).hostname == "redis"
    assert secrets["are_tracking_uri"] == "http://mlflow:5000"
    assert urlsplit(env["ARE_REDIS_URL"]).hostname == "127.0.0.1"
    assert urlsplit(env["ARE_REDIS_URL"]).password == urlsplit(secrets["are_redis_url"]).password


def test_an_open_hub_asks_for_a_password_and_the_worker_has_it(places):
    keep_hub_secrets(*places, Hub("192.0.2.7", 6379, 5000, Path()), asks_for_password=True)
    secrets = contents(places[0])
    assert secrets["are_tracking_uri"] == f"http://admin:{secrets['mlflow_admin_password']}@mlflow:5000"
    assert "@192.0.2.7:5000" in read_env(places[1])["ARE_TRACKING_URI"]


@pytest.mark.parametrize(
    ("url", "host", "there"),
    [
        ("redis://agent:pw@127.0.0.1:6379/0", "hub.local", "redis://agent:pw@hub.local:6379/0"),
        ("redis://agent:pw@127.0.0.1:7000/0", "hub.local", "redis://agent:pw@hub.local:7000/0"),
        ("http://127.0.0.1:5000", "192.0.2.7", "http://192.0.2.7:5000"),
    ],
)
def test_an_address_is_rewritten_for_another_host(url, host, there):
    assert at_host(url, host) == there


def test_a_port_beside_the_host_is_refused_since_the_hubs_env_has_it():
    with pytest.raises(ValueError, match="give the host alone"):
        at_host("http://127.0.0.1:5000", "hub.local:7000")


def test_a_host_with_workers_only_takes_the_hubs_addresses_and_no_other_secret(places, tmp_path):
    keep_hub_secrets(tmp_path / "hub", places[1], LOCAL, asks_for_password=False)
    keep_worker_secrets(*places, "hub.local")
    secrets = contents(places[0])
    assert urlsplit(secrets["are_worker_redis_url"]).hostname == "hub.local"
    assert urlsplit(secrets["are_worker_redis_url"]).username == "worker"
    assert set(secrets) == {"are_redis_url", "are_worker_redis_url", "are_tracking_uri"}


def test_a_hub_that_works_for_another_for_a_while_keeps_its_databases_password(places):
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    before = contents(places[0])["database_password"]
    keep_worker_secrets(*places, "hub.local")
    keep_hub_secrets(*places, LOCAL, asks_for_password=False)
    assert contents(places[0])["database_password"] == before


def test_without_the_hubs_env_one_line_says_what_to_copy(places):
    with pytest.raises(ValueError, match=r"copy the hub's \.env here") as raised:
        keep_worker_secrets(*places, "hub.local")
    assert "\n" not in str(raised.value)
    assert not places[0].exists()


def test_the_stack_command_needs_no_package():
    """A fresh machine has Docker, make and Python."""
    start = f"import sys, runpy; sys.path.insert(0, {str(CHECKOUT)!r}); sys.argv = ['stack', '--help']"
    start += "; runpy.run_module('compose.stack', run_name='__main__')"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "up" in done.stdout


def test_the_stack_command_runs_under_the_systems_own_python():
    if subprocess.run(["python3", "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).returncode:
        pytest.skip("python3 of this machine is too old for the stack command")
    command = ["python3", "-m", "compose.stack", "up", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    assert "gb10" in done.stdout


def test_an_unknown_target_is_refused_with_the_known_ones():
    command = [sys.executable, "-m", "compose.stack", "up", "mac"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 2
    assert "gb10" in done.stderr
