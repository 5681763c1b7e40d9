"""The verdict on an embedding: its numbers, what they mean, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["learned", "weak", "overfitted"]

ENOUGH_GAIN = 0.05
"""Gain below which an embedding has hardly learned anything."""
EDITABILITY_FLOOR = 0.3
"""Editability below which the other words of a prompt are drowned; on the starter model
backgrounds are followed at 0.4 and above."""
MEMORISED = 0.5
"""How much the gain may exceed that on the held-out picture. The gap is wide even for good
embeddings, because a picture's background counts in it."""
HEALTHY_NORMS = (0.5, 2.0)
"""Range of the norm ratio outside which vectors drown the prompt, or vanish in it."""


@dataclass(frozen=True)
class Score:
    """How much better fixed inputs are denoised with the embedding than with the initializer."""

    loss: float
    """Mean error with the embedding."""
    gain: float
    """1 - loss / loss with the initializer, over all inputs."""
    error: float
    """Standard error of the gain over the inputs."""
    held_out: float | None
    """The gain on the picture that training never saw."""
    over_empty: float
    """The gain over an empty prompt."""
    thirds: tuple[float, float, float]
    """The gain at little, middling and much noise."""


@dataclass(frozen=True)
class Report:
    """What came of a run, for people."""

    verdict: Verdict
    advice: str
    step: int
    """The step whose vectors were kept."""
    reason: str
    """Why that step."""
    score: Score
    editability: float
    """Mean cosine (-1 to 1) of the other words' encodings beside the name and the initializer."""
    norm_ratio: float
    """Mean norm of the vectors, as a multiple of the vocabulary's."""
    nearest: tuple[tuple[str, ...], ...]
    """The five nearest words of each vector, by angle."""
    seconds: float
    """Time spent training."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """Build a report from ``to_dict``'s answer, as it comes back from JSON."""
        score = Score(**{**values["score"], "thirds": tuple(values["score"]["thirds"])})
        nearest = tuple(tuple(words) for words in values["nearest"])
        return cls(**{**values, "score": score, "nearest": nearest})


def judge(found: Score, editable: float, norm: float, classic: bool) -> tuple[Verdict, str]:
    """Return the verdict on an embedding and a sentence of advice."""
    memorised = found.held_out is not None and found.gain - found.held_out > MEMORISED
    low, high = HEALTHY_NORMS
    if editable < EDITABILITY_FLOOR or norm > high or memorised:
        remedy = "use the Object preset, which holds the norm" if classic else "raise the pull"
        return "overfitted", (
            "It shows the pictures more than the thing, and other words in the prompt lose their "
            f"hold. Install an earlier step, train fewer steps, or {remedy}."
        )
    if found.gain < max(ENOUGH_GAIN, 2 * found.error) or norm < low:
        return "weak", (
            "It is hardly better than its initializer. Train more steps or more vectors, raise the "
            "learning rate, or choose an initializer that is less specific."
        )
    return "learned", "It shows the thing and leaves the rest of the prompt its meaning."
