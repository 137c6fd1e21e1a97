"""The corpus that a job names. What reads it is imported only then: a worker needs no library of another corpus."""

from services.prepare.corpora import Corpus
from services.prepare.report import Report
from shared.contracts import PrepareJob


def open_corpus(job: PrepareJob, report: Report) -> Corpus:
    """The corpus a job names, downloaded and verified where it has to be. ValueError says what is wrong with it."""
    if job.corpus == "stdlib":
        from services.prepare.stdlib import stdlib_corpus

        return stdlib_corpus()
    if job.corpus == "climbmix":
        from services.prepare.climbmix import climbmix_corpus

        return climbmix_corpus(job.shards, report)
    from services.prepare.parquet import parquet_corpus

    return parquet_corpus(job.corpus.removeprefix("parquet:"), job.text_column, report)
