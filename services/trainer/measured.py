"""What is known of a training run so far, and the record it becomes, however it ends."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from shared.contracts import Choice, Integrity, Status, TrainingRecord, VoidCause


@dataclass
class Measured:
    """Fields of a TrainingRecord, with the values it has where nothing was measured. Filled as they become known."""

    startup_seconds: float = 0.0
    training_seconds: float = 0.0
    hand_over_seconds: float = 0.0
    finish_seconds: float = 0.0
    num_steps: int = 0
    total_tokens: int = 0
    epochs: float = 0.0
    last_loss: float | None = None
    tok_per_sec: float | None = None
    mfu_percent: float | None = None
    input_percent: float | None = None
    peak_vram_mb: float | None = None
    num_params: int | None = None
    attention_backend: str | None = None
    resumed_from_step: int | None = None
    foreign_cpu: float | None = None
    stolen_cpu: float | None = None
    integrity: Integrity | None = None
    choices: list[Choice] = field(default_factory=list)

    def record(self, status: Status, reason: str, void: VoidCause | None = None) -> TrainingRecord:
        """Rejected, with what is trusted, when the recipe's process reported a number that no run has."""
        values = {**vars(self), "choices": tuple(self.choices)}
        try:
            return TrainingRecord(status=status, reason=reason, void=void, **values)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            kept = {key: value for key, value in values.items() if key not in TrainingRecord.REPORTED}
            reason = f"the recipe's process reported what no run has: {name} = {values.get(name)}"
            return TrainingRecord(status=Status.REJECTED, reason=reason, **kept)
