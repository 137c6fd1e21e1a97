"""One simulated Mac for all tests of a pytest process."""

import pytest

from tests.mac_simulated.machine import Mac, make_mac


@pytest.fixture(scope="session")
def mac(tmp_path_factory) -> Mac:
    return make_mac(tmp_path_factory.mktemp("mac") / "machine")
