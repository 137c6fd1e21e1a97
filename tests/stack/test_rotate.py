"""make rotate: the next up gives every container new passwords, and the old ones open nothing any more."""

import pytest
from redis.exceptions import AuthenticationError

from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.stack.containers import Stack, docker

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def database_password(stack: Stack) -> str:
    return (stack.checkout / ".secrets" / "database_password").read_text()


def database_lets_in(stack: Stack, password: str) -> bool:
    ask = ["psql", "--host", "127.0.0.1", "--username", "mlflow", "--command", "select 1", "postgres"]
    said = docker("exec", "--env", f"PGPASSWORD={password}", stack.container("database"), *ask, check=False)
    return "1 row" in said


def test_after_a_rotation_old_passwords_are_refused_and_jobs_and_records_go_on(stack, enqueue):
    earlier = stack.outcome(enqueue("before-rotation"))
    wait_for(lambda: stack.is_recorded(earlier.run_id), 60, every_s=1)
    old_redis, old_database = stack.redis, database_password(stack)
    assert old_redis.ping()
    assert database_lets_in(stack, old_database)

    trains = stack.in_training(enqueue("through-rotation", HONEST, seconds=6.0))
    done = stack.make("rotate")
    assert done.returncode == 0, done.stderr
    stack.up()

    with pytest.raises(AuthenticationError):
        old_redis.ping()
    assert not database_lets_in(stack, old_database)
    assert database_lets_in(stack, database_password(stack))
    through, after = stack.outcome(trains), stack.outcome(enqueue("after-rotation"))
    assert (through.status, through.attempt) == ("ok", 1), through.reason
    assert after.status == "ok", after.reason
    for outcome in (earlier, through, after):
        wait_for(lambda run_id=outcome.run_id: stack.is_recorded(run_id), 60, every_s=1)
