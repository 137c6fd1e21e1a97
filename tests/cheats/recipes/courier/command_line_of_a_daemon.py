"""The same from a daemon in a session of its own, for an auditor that starts later."""

from tests.cheats.channels import DaemonCommandLines
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = DaemonCommandLines


build = Cheat
