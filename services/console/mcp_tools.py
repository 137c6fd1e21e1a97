"""What an MCP client can ask: the functions behind `brief`, `submit`, `wait`, `decide` and `history`, as JSON.

Clients give up after a minute or so, so nothing blocks longer than asked: work goes on, and asking again finds it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from services.console import briefing, verdicts
from services.console.idea_here import written_down
from services.console.idea_jobs import enqueue_idea
from services.console.proposals import described
from services.console.research import Fleet, Place
from shared.contracts import RunResult
from shared.experiment.request import TrainRequest, validated
from shared.research.comparable import said_of, why_not
from shared.research.history import rows
from shared.research.idea import Idea
from shared.runs.recipe_file import read_source

PATIENCE_S = 50.0


class Tools:
    def __init__(self, place: Place):
        self.place = place
        self.workers = ThreadPoolExecutor(max_workers=1 if not place.is_fleet else 8)
        self.going_on: dict[str, Future[Any]] = {}

    def status(self, limit: int = 10, hardware: str | None = None) -> dict[str, Any]:
        """The best recipe, what this machine can resolve, the last ideas, what runs, and what to do next."""
        return briefing.state(self.place, hardware, limit).as_json()

    def submit(
        self,
        recipe: str,
        note: str,
        target: str | None = None,
        parent: str | None = None,
        preset: str | None = None,
        settings: dict[str, str] | None = None,
        time_budget: float | None = None,
        dataset: str | None = None,
        rung: str = "auto",
    ) -> dict[str, Any]:
        """Test an idea. `recipe` is the path of a file, `note` says in one line why it should help; on a hub, `target`
        is the kind of hardware. Its first run begins; the answer names the idea and its jobs.
        """
        path = Path(recipe)
        if not path.is_file():
            raise ValueError(f"the recipe {recipe} does not exist")
        common = {"time_budget": time_budget, "tokens": None, "dataset": dataset, "rung": rung, "smoke": False}
        own = {"note": note, "parent": parent, "preset": preset}
        if self.place.is_fleet:
            if target is None:
                raise ValueError("choose the kind of hardware, for example target cpu: each has a queue of its own")
            source = read_source(path).decode()
            group, jobs, about = enqueue_idea(source, [target], common | {"set": settings or {}}, own)
            return {**about, "group": group, "jobs": jobs}
        return self._run_here(read_source(path), common, settings or {}, own)

    def wait(self, jobs: list[str], timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until jobs have ended, at most `timeout_s` seconds; on a machine without hub, jobs are ideas. An answer
        that was lost is given again.
        """
        if not self.place.is_fleet:
            return {name: self._first_run(name, timeout_s) for name in jobs}
        return Fleet().wait(jobs, timeout_s)

    def decide(
        self, idea: str, make_runs: bool = True, again: bool = False, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Keep or discard an idea, or say what is missing. `make_runs` makes the runs that could change the verdict;
        while they last the answer is {"state": "running"}, and asking again waits on. An answer that was lost is given
        again. `again` tries a keep by today's noise, as `status` says under doubts; it stands until this is decided.
        """
        name = f"decide {self.place.known().idea(idea).id}{' again' if again else ''}"
        if not make_runs:
            return verdicts.as_json(verdicts.conclude(self.place, idea, again=again))
        work = self.going_on.get(name) or self._begin(
            name, lambda: verdicts.as_json(verdicts.conclude(self.place, idea, wait=True, again=again))
        )
        return self._verdict(name, work, timeout_s)

    def history(self, limit: int = 50) -> list[dict[str, Any]]:
        """Every idea, what it was compared with, and what became of it, the latest last."""
        return [row.as_json() for row in rows(self.place.known())][-limit:]

    def _run_here(
        self, source: bytes, common: dict[str, Any], settings: dict[str, str], own: dict[str, Any]
    ) -> dict[str, Any]:
        asked = {name: value for name, value in common.items() if value}
        request = validated(TrainRequest, asked | {"preset": own["preset"], "set": settings})
        idea, trial, _ = written_down(request, source, own["note"], own["parent"])
        if idea.id not in self.going_on or self.going_on[idea.id].done():
            self._begin(idea.id, lambda: self.place.run(idea, trial, [0]))
        return {**described(idea, trial, self.place.known()), "jobs": [idea.id]}

    def _begin(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        begun = self.going_on[name] = self.workers.submit(work)
        return begun

    def _verdict(self, name: str, work: Future[dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        """Once it was told, asking again judges again, by the book and by what is known then."""
        try:
            return work.result(timeout_s)
        except NotYet:
            return {"state": "running", "what": name}
        finally:
            if work.done() and self.going_on.get(name) is work:
                del self.going_on[name]

    def _first_run(self, name: str, timeout_s: float) -> dict[str, Any]:
        """As the records have it, whoever began it. What went wrong before there was a record is told each time."""
        idea = self.place.known().idea(name)
        try:
            if begun := self.going_on.get(idea.id):
                begun.result(timeout_s)
        except NotYet:
            return {"state": "running", "what": name}
        results = self.place.known().results.get(idea.id, ())
        if not results:
            raise ValueError(f"no run of {idea.id} was begun here, and none has ended: decide makes one")
        return {"state": "done", "runs": [_as_run(idea, one) for one in results]}


def _as_run(idea: Idea, result: RunResult) -> dict[str, Any]:
    why = why_not(idea, result)
    said = {"why_not_counted": said_of(why, result) if why else None}
    return {**result.model_dump(mode="json", exclude={"choices"}), **said}
