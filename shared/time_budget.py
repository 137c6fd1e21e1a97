"""How finely a time budget can be asked for, and how it is said: only runs of equal budgets compare."""

from typing import Annotated

from pydantic import AfterValidator, Field


def rounded(seconds: float) -> float:
    """To three digits. A run that takes 0.75 % longer still keeps to its budget (Budget.allowed_seconds), so budgets
    that differ by less would be others in name alone."""
    return float(f"{seconds:.3g}")


def said(seconds: float) -> str:
    """With every digit, also of an older record: two that are not equal do not look equal."""
    return f"{seconds:.15g} s"


TimeBudget = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(rounded)]
"""seconds of training that somebody asks for"""
