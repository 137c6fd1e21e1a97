"""The same with one bit a page: all rows fit."""

from tests.cheats.channels import DensePageCache
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = DensePageCache
    send_every = 128


build = Cheat
