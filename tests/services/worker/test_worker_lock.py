"""One worker for each device of a machine, or of each of its stacks."""

import pytest

from services.worker.worker_lock import only_worker


def test_a_device_has_one_worker(workplace):
    with only_worker("cpu"), pytest.raises(ValueError, match="has a worker already"), only_worker("cpu", timeout_s=0):
        pass


def test_stacks_that_share_their_device_locks_have_a_worker_each(workplace, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    with (
        only_worker("cpu", one),
        only_worker("cpu", other),
        pytest.raises(ValueError, match="has a worker already"),
        only_worker("cpu", one, timeout_s=0),
    ):
        pass
