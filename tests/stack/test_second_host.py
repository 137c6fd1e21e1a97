"""HUB=host: a stack of workers only, against a hub that was opened with HUB_BIND and asks for passwords."""

import base64
import json
import shutil
import sys
import urllib.error
import urllib.request
from ipaddress import ip_network

import pytest

from services.hub.credentials import read_env
from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.stack.containers import Stack, copy_checkout, docker

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def address() -> str:
    """Of this machine, as containers of any network reach it."""
    if sys.platform != "linux":
        pytest.skip("containers reach this host by another way")
    network = json.loads(docker("network", "inspect", "bridge"))[0]
    return str(ip_network(network["IPAM"]["Config"][0]["Subnet"])[1])


@pytest.fixture
def open_hub(stack, address):
    """The stack with its hub on an address others reach; afterwards as it was."""
    stack.up(HUB_BIND=address)
    yield stack
    stack.up()


@pytest.fixture
def second(open_hub, bases, corpus, tmp_path_factory, address):
    """Another clone with the hub's .env, as on another machine."""
    checkout = copy_checkout(tmp_path_factory.mktemp("second"))
    shutil.copy(open_hub.env_file, checkout / ".env")
    second = Stack(checkout, f"{open_hub.name}-2", CORPUS_DIR=str(corpus), HUB=address, **bases)
    second.end()
    try:
        second.up()
        yield second
    finally:
        second.end()


def test_a_worker_elsewhere_takes_jobs_of_the_hub_and_records_there(open_hub, second, enqueue, address):
    docker("stop", "--time", "5", open_hub.container("worker"))
    open_hub.rq("prepare", "words-there", "corpus=parquet:/corpus", "name=words", "seq_lens:=[64,256]", "workers=1")
    assert open_hub.outcome("words-there").status == "ok"
    outcome = open_hub.outcome(enqueue("elsewhere", HONEST))
    assert outcome.status == "ok", outcome.reason
    assert second.container("worker")[:12] in outcome.worker
    assert not second.container("redis")
    url = f"http://{address}:{open_hub.mlflow_port}/api/2.0/mlflow/runs/search"
    assert refuses(url)
    viewer = (open_hub.checkout / ".secrets" / "mlflow_viewer_password").read_text()
    wait_for(lambda: outcome.run_id in ask(url, f"viewer:{viewer}"), 60, every_s=1)
    assert f"admin:{viewer}" not in read_env(second.env_file)["ARE_TRACKING_URI"]


def ask(url: str, login: str) -> str:
    question = json.dumps({"experiment_ids": ["0", "1", "2"], "max_results": 1000}).encode()
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    with urllib.request.urlopen(urllib.request.Request(url, question, headers), timeout=30) as answer:
        return answer.read().decode()


def refuses(url: str) -> bool:
    try:
        ask(url, "")
    except urllib.error.HTTPError as error:
        return error.code == 401
    return False
