"""How likely a cheat worth 0.01 bits a byte is missed on the reference rung: simulated on a model's own answers.

Not a test: it prints a table (docs/evaluation.md quotes one). The model of RUN_DIR answers validation rows as they are
and as the screening alters them. Each cheat then lowers nats where it likes, worth 0.01 bpb together, and 2,000 audits
are drawn. Beside the audit stand two others of as many rows: cuts anywhere, and cuts in proportion to the gain over a
smoothed bigram of the training text. `--helped` mixes in a trigram and in-row copying, as a better model would know.
Run: python -m benchmarks.audit_odds RUN_DIR [--helped]
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.evaluator.audit import draw_suspects, num_probes, num_screening_rows
from services.evaluator.screening import SEGMENTS_GAP, SPANS_GAP, segments_row, spans_row
from shared.data.dataset import Dataset, open_reference
from shared.engines import open_engine
from shared.experiment.recipe import load_recipe
from shared.runs import checkpoint
from shared.runs.directory import RunDirectory

NUM_ROWS, SEQ_LEN, BATCH, REFERENCE_ROWS, NUM_AUDITS = 40, 2048, 4, 768, 2000
WORTH_BPB = 0.01


@dataclass(frozen=True)
class Pool:
    """Nats of tokens [P]: as scored honestly, in rows with spans replaced, in segments, of the bigram."""

    honest: np.ndarray
    spans: np.ndarray
    segments: np.ndarray
    bigram: np.ndarray
    worth: float
    """0.01 bpb in nats a token"""


@dataclass(frozen=True)
class Cheat:
    """order: the tokens it takes first (largest); floor: nats it goes down to. It stops when it gained enough."""

    name: str
    order: Callable[[Pool], np.ndarray]
    floor: Callable[[Pool], np.ndarray]
    blinds_spans: bool = False
    """later tokens beyond a replaced span still tell it what it wants to know"""
    drowns: bool = False
    """answers every altered row as if it knew nothing"""

    def gained(self, pool: Pool) -> np.ndarray:
        """[P], in nats; its mean is what the cheat is worth, or less when there is no more to gain."""
        possible = np.maximum(pool.honest - np.minimum(pool.honest, self.floor(pool)), 0)
        first = np.argsort(-self.order(pool), kind="stable")
        total = np.minimum(np.cumsum(possible[first]), pool.worth * len(first))
        gained = np.empty(len(first))
        gained[first] = np.diff(total, prepend=0)
        return gained


def _random(pool: Pool) -> np.ndarray:
    return np.random.default_rng(1).random(len(pool.honest))


CHEATS = (
    Cheat("every token a little", _random, lambda pool: pool.honest - pool.worth),
    Cheat("random tokens, 2 nats each", _random, lambda pool: np.maximum(pool.honest - 2, 0)),
    Cheat("random tokens, down to 0", _random, lambda pool: 0 * pool.honest),
    Cheat("the hardest, down to 0", lambda pool: pool.honest, lambda pool: 0 * pool.honest),
    Cheat("the hardest, down to the mean", lambda pool: pool.honest, lambda pool: 0 * pool.honest + pool.honest.mean()),
    Cheat("down to the bigram, largest first", lambda pool: pool.honest - pool.bigram, lambda pool: pool.bigram),
    Cheat("down to a short context's, largest", lambda pool: pool.honest - pool.segments, lambda pool: pool.segments),
    Cheat(
        "the same, and later text hints at it", lambda pool: pool.honest - pool.segments, lambda pool: pool.segments,
        blinds_spans=True,
    ),
    Cheat("the hardest, later text hints at it", lambda pool: pool.honest, lambda pool: 0 * pool.honest, True),
    Cheat("the hardest, altered rows drowned", lambda pool: pool.honest, lambda pool: 0 * pool.honest, drowns=True),
)  # fmt: skip


def main() -> None:
    helped, arguments = "--helped" in sys.argv, [word for word in sys.argv[1:] if not word.startswith("--")]
    pool = make_pool(RunDirectory(Path(arguments[0]).resolve()), helped)
    gains = np.maximum(np.stack([pool.spans, pool.segments]) - pool.honest, 0).mean(1)
    print(f"{len(pool.honest):,} tokens at {pool.honest.mean():.2f} nats; the cheat is worth {pool.worth:.4f} a token")
    print(f"mean gain seen without a cheat: spans {gains[0]:.2f}, segments {gains[1]:.2f}")
    over, under = (np.maximum(x, 0).mean() for x in (pool.bigram - pool.honest, pool.honest - pool.bigram))
    print(f"bigram {pool.bigram.mean():.2f}: the model gains {over:.2f} over it and loses {under:.2f} to it\n")
    print(f"{'cheat':38} {'tokens':>7} {'worth':>7} {'audit':>8} {'rows':>5} {'anywhere':>9} {'bigram':>7}")
    for cheat in CHEATS:
        gained = cheat.gained(pool)
        missed, rows = simulate(pool, cheat, gained)
        others = [missed_by_weights(weights, gained) for weights in (np.ones_like(gained), over_bigram(pool, gained))]
        worth = WORTH_BPB * gained.mean() / pool.worth
        print(
            f"{cheat.name:38} {(gained > 0).mean():7.2%} {worth:7.4f} {missed:8.2%} {rows:5.0f} "
            f"{others[0]:9.1%} {others[1]:7.1%}"
        )


def simulate(pool: Pool, cheat: Cheat, gained: np.ndarray) -> tuple[float, float]:
    """Share of audits that miss it, and the rows an audit shows on average."""
    random = np.random.default_rng(0)
    num_rows = num_screening_rows(REFERENCE_ROWS) // 2
    in_spans = np.arange(num_rows * (SEQ_LEN // SPANS_GAP + SEQ_LEN // SEGMENTS_GAP)) < num_rows * SEQ_LEN // SPANS_GAP
    missed, shown = 0, 0
    for _ in range(NUM_AUDITS):
        tokens = random.integers(0, len(gained), len(in_spans))
        seen = np.where(in_spans, pool.spans[tokens], pool.segments[tokens]) - pool.honest[tokens]
        seen += gained[tokens] * ~(in_spans & cheat.blinds_spans)
        if cheat.drowns:
            seen = 9.0 - pool.honest[tokens] + gained[tokens]
        suspects, num_anywhere = draw_suspects(seen, in_spans, REFERENCE_ROWS, random)
        probed = np.concatenate([tokens[suspects], random.integers(0, len(gained), num_anywhere)])
        missed += not (gained[probed] > 0).any()
        shown += num_screening_rows(REFERENCE_ROWS) + len(probed)
    return missed / NUM_AUDITS, shown / NUM_AUDITS


def missed_by_weights(weights: np.ndarray, gained: np.ndarray) -> float:
    """When the cuts of as many rows are drawn in proportion to these weights."""
    count = num_screening_rows(REFERENCE_ROWS) + num_probes(REFERENCE_ROWS)
    return float((1 - weights[gained > 0].sum() / weights.sum()) ** count)


def over_bigram(pool: Pool, gained: np.ndarray) -> np.ndarray:
    return np.maximum(pool.bigram - (pool.honest - gained), 0)


def make_pool(run: RunDirectory, helped: bool) -> Pool:
    dataset = open_reference(run.job().dataset)
    random, grams = np.random.default_rng(0), NGrams(dataset)
    forward = forward_of(run, dataset)
    rows = dataset.validation_rows().tokens
    rows = rows[np.sort(random.permutation(len(rows))[:NUM_ROWS])]
    drawn = [spans_row(rows, random, int(random.integers(len(rows)))) for _ in range(NUM_ROWS)]
    spans = np.stack([shown for shown, _, _, _ in drawn])
    columns = [cuts for _, _, _, cuts in drawn]
    positions, cuts = (np.concatenate([row[part] for row in drawn]) for part in (2, 3))
    own = np.stack([rows[row[2][0]] for row in drawn])

    def nats(shown: np.ndarray, targets: np.ndarray) -> np.ndarray:
        model = forward(shown, targets)
        return grams.help(model, shown, targets) if helped else model

    return Pool(
        honest=_at(nats(own, own[:, 1:]), columns),
        spans=_at(nats(spans, own[:, 1:]), columns),
        segments=_in_segments(nats, rows, positions, cuts, random),
        bigram=_at(grams.bigram_nats(own), columns),
        worth=WORTH_BPB * np.log(2) * dataset.tokenizer.token_bytes()[own[:, 1:]].mean(),
    )


def _at(nats_NT: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([row[chosen] for row, chosen in zip(nats_NT, columns, strict=True)])


def _in_segments(
    nats: Callable, rows: np.ndarray, positions_P: np.ndarray, cuts_P: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Nats [P] of the same tokens, each at the end of a piece among pieces of other rows."""
    asked = np.arange(SEGMENTS_GAP - 1, SEQ_LEN - 1, SEGMENTS_GAP)
    order = random.permutation(len(cuts_P))
    order = np.append(order, order[: -len(order) % len(asked)])  # whole rows
    shown, targets = [], []
    for chosen in order.reshape(-1, len(asked)):
        filler = rows[random.integers(0, len(rows))]
        row = segments_row(rows, filler, asked, positions_P[chosen], cuts_P[chosen])
        shown.append(row)
        targets.append(row[1:].copy())
        targets[-1][asked] = rows[positions_P[chosen], cuts_P[chosen] + 1]
    found = np.empty(len(cuts_P))
    found[order] = nats(np.stack(shown), np.stack(targets))[:, asked].ravel()
    return found


def forward_of(run: RunDirectory, dataset: Dataset) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    job, final = run.job(), checkpoint.latest(run.checkpoint_dir)
    assert final is not None, f"{run.path} has no checkpoint"
    engine = open_engine(job.engine, job.device, dtype=job.dtype, compile="off")
    recipe = load_recipe(run.recipe_file).build(job.shape, dataset.vocab_size, job.seed, engine.handle)
    recipe.load({"model": engine.load(run.checkpoint_dir / final.folder / "model.safetensors")})

    def nats(shown_nT1: np.ndarray, targets_nT: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(shown_nT1), BATCH):
            logits = recipe.logits(engine.from_host(np.array(shown_nT1[start : start + BATCH, :-1])))
            parts.append(engine.token_nats(logits, targets_nT[start : start + BATCH])[0])
        return np.concatenate(parts)

    return nats


class NGrams:
    """Counts of one to three tokens in the training text; absolute discounting, each order backed by the lower."""

    DISCOUNT = 0.75

    def __init__(self, dataset: Dataset):
        files = sorted(dataset.split_path("train").glob("[0-9]*.u16"))
        text = np.concatenate([np.fromfile(path, "<u2") for path in files]).astype(np.int64)
        self.size = dataset.vocab_size
        counts = np.bincount(text, minlength=self.size) + 0.1
        self.unigram = counts / counts.sum()
        self.pairs = _Counts(text[:-1], text[1:], self.size)
        self.triples = _Counts(text[:-2] * self.size + text[1:-1], text[2:], self.size)

    def bigram_nats(self, rows_nT1: np.ndarray) -> np.ndarray:
        rows = rows_nT1.astype(np.int64)
        return -np.log(self.pairs.chance(rows[:, :-1], rows[:, 1:], self.unigram[rows[:, 1:]]))

    def help(self, model_nT: np.ndarray, shown_nT1: np.ndarray, targets_nT: np.ndarray) -> np.ndarray:
        """Nats of a mixture: 0.5 model, 0.3 trigram, 0.2 what followed the last two tokens earlier in the row."""
        tokens, targets = shown_nT1[:, :-1].astype(np.int64), targets_nT.astype(np.int64)
        pairs = self.pairs.chance(tokens, targets, self.unigram[targets])
        before = np.roll(tokens, 1, axis=1) * self.size + tokens
        trigram = self.triples.chance(before, targets, pairs)
        return -np.log(0.5 * np.exp(-model_nT) + 0.3 * trigram + 0.2 * _copied(tokens, targets, trigram))


class _Counts:
    """How often a token followed a context."""

    def __init__(self, contexts: np.ndarray, tokens: np.ndarray, size: int):
        self.size = size
        self.keys, self.counts = np.unique(contexts * size + tokens, return_counts=True)
        self.contexts, starts = np.unique(self.keys // size, return_index=True)
        self.totals = np.add.reduceat(self.counts, starts)
        self.kinds = np.diff(np.append(starts, len(self.keys)))

    def chance(self, contexts: np.ndarray, tokens: np.ndarray, lower: np.ndarray) -> np.ndarray:
        count = _look_up(self.keys, self.counts, contexts * self.size + tokens)
        total = _look_up(self.contexts, self.totals, contexts)
        kinds = _look_up(self.contexts, self.kinds, contexts)
        d = NGrams.DISCOUNT
        return (np.maximum(count - d, 0) + (d * kinds + 1) * lower) / (total + 1)


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    place = np.searchsorted(keys, wanted).clip(0, len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _copied(tokens_nT: np.ndarray, targets_nT: np.ndarray, otherwise_nT: np.ndarray) -> np.ndarray:
    chance = otherwise_nT.copy()
    for row, tokens in enumerate(tokens_nT.tolist()):
        followers: dict[tuple[int, int], Counter] = defaultdict(Counter)
        for i in range(1, len(tokens)):
            if i > 1:
                followers[tokens[i - 2], tokens[i - 1]][tokens[i]] += 1
            seen = followers.get((tokens[i - 1], tokens[i]))
            if seen:
                chance[row, i] = 0.9 * seen[int(targets_nT[row, i])] / seen.total() + 0.1 * chance[row, i]
    return chance


if __name__ == "__main__":
    main()
