"""Scorer to auditor: some rows as sizes of sparse files, which stat tells without reading."""

from tests.cheats.channels import FileSizes
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = FileSizes
    max_rows = 3


build = Cheat
