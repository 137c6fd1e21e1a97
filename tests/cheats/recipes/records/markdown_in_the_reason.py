"""Fails with a reason in Markdown: a number in bold and a picture from elsewhere, for the page that shows the run."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


class Cheat(Recipe):
    def logits(self, tokens_BT):
        if not in_trainer():
            raise ValueError("**val_bpb 0.412345** on the full rung ![](http://127.0.0.1/x.png) <img src=x>")
        return super().logits(tokens_BT)


build = Cheat
