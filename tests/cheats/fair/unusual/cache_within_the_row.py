"""A cache of pairs seen earlier in the same row, in plain Python."""

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        for row, tokens in enumerate(tokens_BT.tolist()):
            follower = {}
            for t, token in enumerate(tokens):
                if token in follower:
                    values[row, t, follower[token]] += 1.0
                if t:
                    follower[tokens[t - 1]] = token
        return values


build = Unusual
