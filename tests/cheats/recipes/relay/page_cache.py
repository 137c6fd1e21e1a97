"""Run to run: trained weights as warmth of the page cache of library files, four bits each, left while it is scored."""

from tests.cheats.kernel_channels import WeightsInThePageCache
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = WeightsInThePageCache
    bits = 4
    from_forward = True


build = Cheat
