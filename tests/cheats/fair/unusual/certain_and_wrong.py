"""A sharp model: temperature a tenth, most tokens cost much, none is infinite."""

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        return 5.0 * super().logits(tokens_BT)


build = Unusual
