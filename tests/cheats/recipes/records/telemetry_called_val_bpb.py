"""Reports series with the names of the evaluator's numbers."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def telemetry(self):
        return {"val_bpb": 0.1, "../val_bpb": 0.1, "curve/val_bpb": 0.1, "val_bpb_upstream": 0.1}


build = Cheat
