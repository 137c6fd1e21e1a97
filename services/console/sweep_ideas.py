"""The points of a sweep as ideas in the book: each is compared with the base, has seeds that are drawn for it, and can
be judged by `autoresearch decide` like any other. A point that was run before, on the terms of today, is not run again.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from services.console.research import Fleet, Here, whoami
from services.console.sweep_queue import patiently
from shared.contracts import Job, RunResult, Status, Unranked
from shared.evaluation.rungs import eval_signature
from shared.experiment.presets import DEFAULT_BUDGET_S
from shared.experiment.request import build_job
from shared.experiment.settings import tuning_of
from shared.research.book import Proposal, Trial
from shared.research.comparable import most_again, why_not
from shared.research.idea import Idea, new_nonce, propose
from shared.sweep.folder import Header, Run, SweepFolder
from shared.sweep.night import Entry, request_of, usable
from shared.sweep.plan import Point

Answer = TypeVar("Answer")


class IdeaRegister:
    """`target` is that of the runs: the plan's, or this machine's."""

    def __init__(self, folder: SweepFolder, header: Header, target: str) -> None:
        self.plan, self.tag, self.target = header.asked, header.tag, target
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
        self._asked(lambda: self.place.put_recipe(source))
        idea = self._asked(lambda: self._in_book(idea, trial))
        answers = partial(is_answer, idea, self._job_here(point, source, idea))
        return Entry(idea.ref, tuple(self._run(idea, trial, index, answers) for index in range(self.plan.seeds)))

    def _job_here(self, point: Point, source: bytes, idea: Idea) -> Job | None:
        """As this machine would run it today; None where another one does, or where it cannot be run."""
        if self.place.is_fleet:
            return None
        with suppress(ValueError):
            return build_job(request_of(self.plan, point, idea=idea.ref), source)[0]
        return None

    def _in_book(self, idea: Idea, trial: Trial) -> Idea:
        """As the book has it: its seeds follow from what was drawn for the first record of it."""
        before = self.place.known().ideas
        new = {one.id: one for one in (self.base, idea) if one.id not in before}
        self.place.append(*(Proposal(idea=one) for one in new.values()), trial)
        return self.place.known().ideas[idea.id]

    def _run(self, idea: Idea, trial: Trial, index: int, answers: Callable[[RunResult], bool]) -> Run:
        """The first that says something of the point or has not ended: a cancelled one, say, is passed over."""
        for again in range(most_again(idea)):
            run = Run(run_id=trial.job_id(index, again), seed=idea.seed(index), again=again)
            if not self._asked(partial(self.place.measured_nothing, run.run_id, answers)):
                break
        return run

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """A hub that is away is waited for, as for its queue."""
        return patiently(ask) if self.place.is_fleet else ask()

    def _propose(self, point: Point, source: bytes, base: Idea | None) -> Idea:
        """The base itself for a point that changes nothing of it."""
        idea = propose(
            source,
            base,
            self.base_source if base else b"",
            note=f"sweep {self.tag}: {point}",
            preset=self.plan.preset,
            settings={**self.plan.set, **point.set},
            by=whoami(),
            nonce=new_nonce(),
        )
        return base if base is not None and base.id == idea.id else idea


def is_answer(idea: Idea, job: Job | None, result: RunResult) -> bool:
    """Whether a run that ended before says something of its point, which is therefore not run again.

    `job`: what would be run today. One on other terms is none: the machine was calibrated again, say, or its dataset
    made anew. A point that took longer than its budget has had its run; the base, which others are held against, not.
    """
    if job is not None and not _same_terms(job, result):
        return False
    late = set(result.unranked) - {Unranked.DEMO_CORPUS} == {Unranked.OVER_BUDGET} and idea.parent is not None
    return late or usable(result) or why_not(idea, result) is None


def _same_terms(job: Job, result: RunResult) -> bool:
    same_shape = result.shape in (None, job.shape) and result.tuning in (None, tuning_of(job))
    same_evaluation = result.status is not Status.OK or result.eval_signature == eval_signature()
    same = (result.hardware_key, result.engine, result.dataset, result.budget)
    return (
        same_shape and same_evaluation and same == (job.hardware_key, job.engine, job.dataset.fingerprint, job.budget)
    )
