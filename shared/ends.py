"""How an attempt can end, why it may say nothing of its recipe, and why its number may not be compared."""

from enum import StrEnum


class Status(StrEnum):
    """How a stage or an experiment ended. Every end is one of these."""

    OK = "ok"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INVALID = "invalid"


class VoidCause(StrEnum):
    """Why an attempt says nothing of its recipe and is started again. Set by trusted code alone, by what it saw."""

    DEVICE_SHARED = "device_shared"
    """somebody else's process computed on the device"""
    HOST_SLEPT = "host_slept"
    """the machine was suspended, or what measures the run was stopped for a while"""
    EXECUTOR_LOST = "executor_lost"
    """the process that ran the stage was killed before it could write a record"""


class Unranked(StrEnum):
    """Why a result is not compared with others. None of these: it is ranked."""

    NOT_OK = "not_ok"
    """it has no number"""
    SMOKE_RUNG = "smoke_rung"
    """the number is of too few tokens"""
    DEMO_CORPUS = "demo_corpus"
    """a corpus for first steps: every Python holds it, validation text too"""
    TOKEN_BUDGET = "token_budget"
    """the recipe's own process counts the steps, so nobody knows how many it took"""
    OVER_BUDGET = "over_budget"
    """it computed for longer than the budget: too much else was going on, or the recipe took its time"""
    BUSY_MACHINE = "busy_machine"
    """it trained on the CPU while others used more than a tenth of it, or its host did not give it"""
