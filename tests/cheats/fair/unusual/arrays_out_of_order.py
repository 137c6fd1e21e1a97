"""State and logits are views that are not contiguous."""

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        return super().logits(tokens_BT).transpose(1, 2).contiguous().transpose(1, 2)

    def state(self):
        state = super().state()
        turned = {f"{name}_T": array.T for name, array in state["model"].items()}
        return state | {"model": turned}


build = Unusual
