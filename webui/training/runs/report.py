"""The verdict on an embedding: its numbers, what they mean, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from webui.embeddings.health import LONG

if TYPE_CHECKING:
    from webui.training.trials.drawable import Comparison

Verdict = Literal["learned", "not shown", "weak", "overfitted"]

# The limits of the verdict. They are judgements: what was measured for them was the starter model.
ENOUGH_GAIN = 0.05
"""Gain below which an embedding counts as weak, as does one within two standard errors of none.
With two shipped embeddings turned back towards their initializers, no picture showed the thing at a
gain of 0.04 and below, two of eight at 0.08."""
TOLD = 0.15
"""Gain over an empty prompt below which it counts as weak, as a part of what words gain the model
on images of its own. Of trainings cut off after eight steps, whose images showed nothing of the
thing, none had more than 0.11; things of the model's world that were shown had 0.43 and more, other
programs' drawings 0.06 to 0.44, so that three of seven of these are called weak."""
SHORT = 0.5
"""Norm ratio below which vectors count as weak: at 0.3 a "photo of" them still shows the thing now
and then, but beside other words nothing of it is left. The limit above is ``LONG``: at 4 the thing
is drawn as often beside other words as alone, at 8 and 15 less than half as often."""
EDITABILITY_FLOOR = 0.3
"""Editability below which an embedding counts as overfitted. None was measured there: from 0.47 on
backgrounds that a prompt asks for are drawn."""
MEMORISED = 0.5
"""So much more gain than on the held-out picture makes an embedding overfitted. It is wide because
one picture is a small sample; good embeddings had gaps of -0.03 to 0.12."""


@dataclass(frozen=True)
class EvalResult:
    """How much better fixed inputs are denoised with the embedding than with the initializer."""

    loss: float
    """Mean error with the embedding."""
    gain: float
    """1 - loss / loss with the initializer, over all inputs."""
    error: float
    """Standard error of the gain over the inputs."""
    held_out: float | None
    """The gain on the pictures that training never saw."""
    over_empty: float
    """The gain over an empty prompt."""
    thirds: tuple[float, float, float]
    """The gain at little, middling and much noise."""
    held_out_error: float | None = None
    """Standard error of ``held_out``; reports of earlier versions lack it."""
    turns: int = 1
    """How often images were held out, each time others."""


@dataclass(frozen=True)
class Report:
    """What came of a run, for people."""

    verdict: Verdict
    advice: str
    step: int
    """The step whose vectors were kept."""
    reason: str
    """Why that step."""
    score: EvalResult
    editability: float
    """Mean cosine (-1 to 1) of the other words' encodings beside the name and the initializer."""
    norm_ratio: float
    """Mean norm of the vectors, as a multiple of the vocabulary's."""
    nearest: tuple[tuple[str, ...], ...]
    """The five nearest words of each vector, by angle."""
    seconds: float
    """Time spent training."""
    name: str = ""
    """Of the embedding; reports of earlier versions lack it."""
    others: tuple[Report, ...] = ()
    """Those on the other names of a run that learned several."""

    @property
    def each(self) -> tuple[Report, ...]:
        """The reports on all names of the run."""
        return (self, *self.others)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """Build a report from ``to_dict``'s answer, as it comes back from JSON."""
        score = EvalResult(**{**values["score"], "thirds": tuple(values["score"]["thirds"])})
        nearest = tuple(tuple(words) for words in values["nearest"])
        others = tuple(map(cls.from_dict, values.get("others", ())))
        return cls(**{**values, "score": score, "nearest": nearest, "others": others})


def chosen_of(scores: Sequence[EvalResult]) -> int:
    """Return which of a run's evaluations to install, as an index.

    It is the last whose gain is within its error of the highest: a few fixed inputs cannot tell
    these apart, and of equals the one that has learned for longer shows the thing more surely.
    """
    highest = max(score.gain for score in scores)
    equal = [index for index, score in enumerate(scores) if score.gain >= highest - score.error]
    return equal[-1] if equal else [score.gain for score in scores].index(highest)


def judge(
    found: EvalResult,
    editable: float,
    norm: float,
    classic: bool,
    beside: Comparison | None = None,
    fault: bool = False,
    guided: bool = False,
) -> tuple[Verdict, str]:
    """Return the verdict on an embedding, and what it rests on with a piece of advice.

    ``beside`` compares the images with the model's own, where that was measured. A ``fault`` need
    not tell the model much: it is written into negative prompts. One that was learned ``guided``
    was measured in its place there, so an empty negative prompt must not do as well.
    """
    earlier = "Install an earlier step, train fewer steps, or "
    remedy = (
        "use the Object preset, which holds the norm." if classic else "raise the prior weight."
    )
    if editable < EDITABILITY_FLOOR:
        return "overfitted", (
            f"Other words of a prompt lose their hold beside it. {earlier}{remedy}"
        )
    if norm > LONG:
        return "overfitted", (
            f"Its vectors are {norm:.1f} times as long as a word's, and drown other words on some "
            f"models. {earlier}{remedy}"
        )
    if found.held_out is not None and found.gain - found.held_out > MEMORISED:
        return "overfitted", (
            "It shows the images more than the thing: the one that was held out gains far less. "
            f"{earlier}use images that differ more."
        )
    if norm < SHORT:
        return "weak", (
            f"Its vectors are {norm:.2f} times as long as a word's and hardly say anything. Use a "
            "preset that holds the norm, such as Object."
        )
    if found.gain < max(ENOUGH_GAIN, 2 * found.error):
        return "weak", (
            "It is hardly better than its initializer. Train more steps or more vectors, raise the "
            "learning rate, or choose an initializer that is less specific."
        )
    if beside is not None and beside.strange:
        times = beside.pictures.denoiser / beside.own.denoiser
        return "not shown", (
            "The images gain, but the model cannot draw such ones: its error on them is "
            f"{times:.1f} times that on the strangest of its own. Look at the previews; train on a "
            "model that knows such images."
        )
    if guided and not found.over_empty > 0:
        return "weak", (
            "In the negative prompt it does no better than nothing there. Train more steps, use "
            "more images, or begin from a word that says little, such as “picture”."
        )
    if beside is not None and not fault and found.over_empty < TOLD * beside.words_gain:
        return "weak", (
            f"It tells the model {found.over_empty:.0%} more than an empty prompt does, where the "
            f"words of a prompt tell it {beside.words_gain:.0%}. Train more steps or more vectors, "
            "or raise the learning rate."
        )
    unseen, doubt = found.held_out, found.held_out_error
    if unseen is not None and doubt is not None and not unseen > doubt:
        often = f" in {found.turns} trainings, each time others," if found.turns > 1 else ""
        return "not shown", (
            f"The images gain, but what was held out of them{often} does not: {unseen:.1%} ± "
            f"{doubt:.1%}. "
            "Whether it learned the thing cannot be told from this. Look at the previews; use "
            "images that show more of the same, or a model that can draw such things."
        )
    return "learned", "It shows the thing and leaves the rest of the prompt its meaning."
