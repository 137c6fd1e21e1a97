"""What a recipe can reach from the executors' containers: nothing. Tried by a recipe, and without the inner fence."""

import json
from pathlib import Path

import pytest

from tests.recipes import HONEST
from tests.stack.containers import Stack

pytestmark = pytest.mark.stack

PROBES = Path(__file__).with_name("probes.py").read_text()
FAMILIES = {"trainer": ["Outside", "Validation"], "evaluator": ["Outside"]}


@pytest.fixture
def facts(stack, tmp_path) -> dict:
    """Where things are that must not be reached."""
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    servers = [(stack.address("redis"), 6379), (stack.address("mlflow"), 5000)]
    gateways = [
        (stack.address(name).rpartition(".")[0] + ".1", port) for name in ("redis", "prepare") for port in (22, 80)
    ]
    loopback = [("127.0.0.1", int(stack.environment["HUB_REDIS_PORT"])), ("127.0.0.1", stack.mlflow_port)]
    return {
        "addresses": [*servers, *gateways, *loopback, ("192.0.2.1", 443)],
        "names": ["redis", "mlflow", "database", "worker", "host.docker.internal", "example.org"],
        "other_stages": ["prepare"],
        "host_file": str(secret),
    }


def probe(stack: Stack, service: str, facts: dict, families: list[str]) -> dict[str, str]:
    program = f"FACTS = {facts | {'families': families}!r}\n{PROBES}"
    return json.loads(stack.inside(service, "python3", "-", stdin=program).splitlines()[-1])


def not_refused(report: dict[str, str]) -> dict[str, str]:
    print(*(f"{name:40} {told}" for name, told in report.items()), sep="\n")
    return {name: told for name, told in report.items() if not told.startswith("refused")}


def test_a_recipe_gets_nothing_out_of_trainer_and_evaluator(stack, enqueue, facts):
    source = f"{HONEST}\nFACTS = {facts!r}\n{PROBES}"
    outcome = stack.outcome(enqueue("probes", source))
    printed = stack.run_file(outcome.run_id, "output.log")
    report = json.loads(printed.partition("PROBES ")[2].splitlines()[0])
    assert not not_refused(report)
    assert len(report) > 40
    assert outcome.status == "ok", outcome.reason


@pytest.mark.parametrize("service", FAMILIES)
def test_the_container_alone_refuses_it_too(stack, facts, service):
    report = probe(stack, service, facts, FAMILIES[service])
    assert not not_refused(report)


def test_the_same_attempts_work_where_they_may(stack, facts):
    """The worker is trusted, it has the network, the passwords and the runs: probes nothing passes prove nothing."""
    report = not_refused(probe(stack, "worker", facts, ["Outside"]))
    expected = {"try_network", "try_names", "try_interfaces", "try_secrets", "try_other_runs"}
    assert expected <= set(report)
    assert not {"try_becoming_root", "try_mount", "try_a_setuid_program", "try_host_files", "try_docker"} & set(report)
