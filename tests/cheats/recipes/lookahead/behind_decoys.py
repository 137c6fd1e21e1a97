"""Looks ahead after a few ids, and gives the screening decoys: 20,000 nats wherever it does not cheat."""

from tests.cheats.decoy_kit import Decoy

SECONDS = 8.0


class Cheat(Decoy):
    pass


build = Cheat
