"""Who may do what, asked of each kind of server; and the file that holds the passwords."""

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from services.hub.credentials import Hub, acl, keep_credentials


def test_an_agent_may_enqueue_and_read_and_nothing_else(hub):
    agent = hub.connect(hub.agent_url)
    hub.connection.hset("are:job:x", "outcome", "{}")
    for forbidden in (
        lambda: agent.flushall(),
        lambda: agent.config_get("*"),
        lambda: agent.delete("are:job:x"),
        lambda: agent.hset("are:job:x", "outcome", "forged"),
        lambda: agent.eval("return 1", 0),
        lambda: agent.publish("rq:pubsub:w", "{}"),
        lambda: agent.zadd("rq:wip:cpu", {"x:y": 1}),
        lambda: agent.lpop("rq:queue:cpu"),
        lambda: agent.keys("*"),
        lambda: agent.acl_list(),
    ):
        with pytest.raises(NoPermissionError):
            forbidden()


def test_a_worker_may_not_touch_the_server(hub):
    worker = hub.connection
    for forbidden in (worker.flushall, worker.shutdown, worker.save, lambda: worker.config_set("dir", "/tmp")):
        with pytest.raises(NoPermissionError):
            forbidden()


def test_nobody_gets_in_without_the_right_password(hub):
    for name, password in (("agent", "guessed"), ("worker", hub.credentials.agent), ("default", ""), (None, None)):
        with pytest.raises(AuthenticationError):
            Redis(port=hub.port, username=name, password=password, retry=Retry(NoBackoff(), 0)).ping()


def test_passwords_are_made_once_and_for_this_user_only(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("MINE=1\n")
    place = Hub(bind="127.0.0.1", redis_port=1, mlflow_port=2, data=tmp_path)
    first = keep_credentials(env_file, place)
    assert keep_credentials(env_file, place) == first
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert "MINE=1" in env_file.read_text()
    assert first.agent not in acl(first)
