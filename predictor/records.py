"""What is known of a model version."""

import msgspec

from predictor.contract import ModelVersion


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside a model."""

    about: ModelVersion
    sha256: str
    """Of the model's content where the record stands."""
    sklearn_version: str
    last_feedback_id: int
    """The newest report that it learnt from."""
    learnt_until_s: float | None = None
    """When the newest placement was made that it learnt from; ``None`` in old records."""

    @property
    def unseen_after_s(self) -> float:
        """It has seen no placement made after this instant."""
        return self.about.trained_at_s if self.learnt_until_s is None else self.learnt_until_s


def may_serve(record: ModelRecord) -> bool:
    """Tell whether a model is trusted, and was found no worse than the one in service."""
    return record.about.is_trusted and not record.about.why_not_in_service
