"""Makes a dataset, or rows of one more length: python -m services.prepare '{"corpus": "stdlib"}'.

The argument is a PrepareJob or a PackJob (shared/contracts.py). Exit 0 when the dataset is there; 2 with one line
on stderr when the job, the corpus or the disk is at fault. Run it again after anything: it goes on where it was.
"""

import json
import sys

from pydantic import ValidationError

from services.prepare.report import Report
from shared.contracts import PackJob, PrepareJob
from shared.data.dataset import Dataset
from shared.settings import settings


def parse(argument: str) -> PrepareJob | PackJob:
    """ValueError in one line."""
    try:
        content = json.loads(argument)
    except json.JSONDecodeError as error:
        raise ValueError(f"the job is not JSON ({error})") from None
    model = PackJob if isinstance(content, dict) and "dataset" in content else PrepareJob
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"not a valid {model.__name__}: {where or 'content'}: {message}") from None


def run(job: PrepareJob | PackJob, report: Report) -> Dataset:
    # Packing alone needs neither a parquet reader nor a tokenizer.
    if isinstance(job, PackJob):
        from services.prepare.packing import pack_dataset

        return pack_dataset(job, report)
    from services.prepare.pipeline import prepare

    return prepare(job, report)


def main() -> int:
    report = Report()
    try:
        if len(sys.argv) != 2:
            raise ValueError('one argument is needed, e.g. python -m services.prepare \'{"corpus": "stdlib"}\'')
        dataset = run(parse(sys.argv[1]), report)
    except ValueError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # Full disk, no permission: what was half written is gone, what was finished stays for the next run.
        where = error.filename or settings().home
        print(f"prepare: {error.strerror or error}: {where}; make room or access, then run it again", file=sys.stderr)
        return 2
    report.say(f"dataset: {dataset.manifest.name} {dataset.manifest.fingerprint[:12]} in {dataset.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
