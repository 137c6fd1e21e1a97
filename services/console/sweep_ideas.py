"""The points of a sweep as ideas in the book: each is compared with the base, has seeds that are drawn for it, and can
be judged by `autoresearch decide` like any other. A point that was run before is not run again.
"""

from collections.abc import Callable

from services.console.research import Fleet, Here, whoami
from services.console.sweep_queue import patiently
from shared.experiment.identity import seed_of
from shared.experiment.request import DEFAULT_BUDGET_S
from shared.research.book import Proposal, Trial
from shared.research.idea import Idea, propose
from shared.sweep.folder import Header, Run, SweepFolder
from shared.sweep.night import Entry
from shared.sweep.plan import Point


class IdeaRegister:
    """`target` is that of the runs: the plan's, or this machine's."""

    def __init__(self, folder: SweepFolder, header: Header, target: str) -> None:
        self.plan, self.tag, self.target = header.plan, header.tag, target
        self.place = Fleet() if header.plan.target else Here()
        self.base_source = folder.recipe_file.read_bytes()
        self.base = self._propose(Point(), self.base_source, None)

    def enter(self, point: Point, source: bytes) -> Entry:
        """Writes the idea and the trial down. Of two entries of one idea in a book the first counts."""
        is_base = point == Point()
        idea = self.base if is_base else self._propose(point, source, self.base)
        asked = {"time_budget": self.plan.time_budget, "rung": self.plan.rung, "dataset": self.plan.dataset}
        default = {"time_budget": DEFAULT_BUDGET_S, "rung": "auto", "dataset": None}
        trial = Trial(
            idea=idea.id,
            target=self.target,
            asked={name: value for name, value in asked.items() if value != default[name]},
        )
        self._write(lambda: self.place.put_recipe(source))
        self._write(lambda: self.place.append(Proposal(idea=idea), trial))
        runs = (Run(run_id=trial.job_id(index), seed=seed_of(idea.id, index)) for index in range(self.plan.seeds))
        return Entry(idea.ref, tuple(runs))

    def _write(self, entry: Callable[[], None]) -> None:
        """A hub that is away is waited for, as for its queue."""
        if self.place.is_fleet:
            patiently(entry)
        else:
            entry()

    def _propose(self, point: Point, source: bytes, base: Idea | None) -> Idea:
        return propose(
            source,
            base,
            self.base_source if base else b"",
            note=f"sweep {self.tag}: {point}",
            preset=self.plan.preset,
            settings={**self.plan.set, **point.set},
            by=whoami(),
        )
