"""What pydantic found wrong, in one line instead of its page of text."""

from pydantic import ValidationError

from shared.bounds import one_line


def first_wrong(error: ValidationError, whole: str = "content") -> str:
    """The first of the errors as `place: message`; `whole` stands for the place where all of it is meant."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or whole
    return one_line(f"{where}: {first['msg'].removeprefix('Value error, ')}")
