"""The same from a daemon in a session of its own, for an auditor that starts later."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import DaemonCommandLines


class Cheat(Courier):
    channel_class = DaemonCommandLines


build = Cheat
