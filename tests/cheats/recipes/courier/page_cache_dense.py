"""The same with one bit a page: all rows fit."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import DensePageCache


class Cheat(Courier):
    channel_class = DensePageCache
    send_every = 128


build = Cheat
