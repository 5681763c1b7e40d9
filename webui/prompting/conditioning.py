"""Prompts become the tensors that guide the UNet, and are remembered."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from webui.embeddings.embedding import Embedding
from webui.errors import AppError, Interrupted
from webui.models.model import Model
from webui.prompting.chunks import Chunk
from webui.prompting.encoding import encode
from webui.prompting.lookup import Lookup
from webui.prompting.loras import LoraCall
from webui.prompting.reader import Part, Reader
from webui.prompting.source import EmbeddingSource, PromptSettings
from webui.prompting.tokens import tokens_of

if TYPE_CHECKING:
    from torch import Tensor

    _EncodedText = tuple[Tensor, Tensor | None]

Value = TypeVar("Value")


MOST_CHARACTERS = 1_000_000
"""Of all texts that a prompt becomes over its steps, each counted once."""
MOST_CHUNKS = 1000
"""Of all of them together; encoded for SDXL they take 600 MiB."""


@dataclass(frozen=True)
class UsedEmbedding:
    """An embedding that a picture was made with."""

    name: str
    short_hash: str
    """As AUTOMATIC1111 writes it into pictures: of the file."""
    content_hash: str
    """Of the vectors alone."""


@dataclass(frozen=True)
class StepConditioning:
    """What the UNet gets at one step; ``k`` is the same in all ``positives``."""

    negative: Tensor
    """``[1, 77k, width]``."""
    positives: tuple[tuple[Tensor, float], ...]
    """The parts that ``AND`` composes, ``[1, 77k, width]``, each with its weight."""
    negative_pooled: Tensor | None = None
    """``[1, projection]``; SDXL only."""
    positive_pooleds: tuple[Tensor, ...] | None = None
    """One a part, ``[1, projection]``; SDXL only."""


@dataclass(frozen=True)
class PromptConditioning:
    """A prompt and a negative prompt, ready for the sampler."""

    used: tuple[UsedEmbedding, ...]
    """Once each, in the order of their first use."""
    loras: tuple[LoraCall, ...]
    warnings: tuple[str, ...]
    """What does not act as it was written, in whole sentences."""
    timeline: tuple[StepConditioning, ...]
    """One a step; the same object while nothing changes."""

    def at(self, step: int) -> StepConditioning:
        """Return the conditioning at a step counted from 0; past the end, the last."""
        return self.timeline[min(max(step, 0), len(self.timeline) - 1)]


class Conditioner:
    """Makes conditioning and remembers it. Safe to use from several threads.

    What is remembered depends on the text, the settings, the model and the content hashes of the
    embeddings used, so that nothing made from an earlier content of a file is ever returned.
    """

    def __init__(self, cache_size: int = 64) -> None:
        """Remember up to ``cache_size`` pairs of prompts, and as many encoded texts."""
        self._prepared: _Recent[PromptConditioning] = _Recent(cache_size)
        self._encoded: _Recent[_EncodedText] = _Recent(cache_size)

    def prepare(
        self,
        model: Model,
        prompt: str,
        negative: str,
        steps: int,
        embeddings: EmbeddingSource,
        settings: PromptSettings = PromptSettings(),  # noqa: B008 - frozen
        applied: Hashable = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> PromptConditioning:
        """Turn a prompt and a negative prompt into conditioning for ``steps`` steps.

        ``applied`` says what else changes the text encoders' output, such as the LoRAs loaded
        into them now, with their strengths; equal values stand for equal encoders.
        ``stopped`` is asked before each text and ends the work with Interrupted. Raises AppError
        if the prompt calls an embedding that no chunk can hold, or is too much to prepare.
        """
        kind = (_identity(model), settings.emphasis, settings.clip_skip, applied)
        key = (prompt, negative, steps, settings, kind, embeddings, embeddings.version)
        remembered = self._prepared.get(key)
        if remembered and all(_is_current(used, embeddings) for used in remembered.used):
            return remembered
        import torch

        with torch.no_grad():
            preparation = _Preparation(self._encoded, model, embeddings, settings, kind, stopped)
            result = preparation.run(prompt, negative, max(1, steps))
        self._prepared.put(key, result)
        return result

    def forget(self) -> None:
        """Drop everything remembered, for instance to free memory together with a model."""
        self._prepared.clear()
        self._encoded.clear()


class _Preparation:
    """The work of one ``prepare``."""

    def __init__(
        self,
        encoded: _Recent[_EncodedText],
        model: Model,
        source: EmbeddingSource,
        settings: PromptSettings,
        kind: Hashable,
        stopped: Callable[[], bool],
    ) -> None:
        self._stopped = stopped
        self._encoded, self._model = encoded, model
        self._settings, self._kind = settings, kind
        self._tokens = tokens_of(model.tokenizer)
        self._lookup = Lookup(source, model.widths, model.name, load=True)
        self._reader = Reader(self._tokens, self._lookup, settings)
        self._chunks: dict[str, tuple[Chunk, ...]] = {}
        self._whole: Embedding | None = None
        """What takes the place of the encoded negative prompt."""

    def run(self, prompt: str, negative: str, steps: int) -> PromptConditioning:
        reader = self._reader
        script = reader.script(prompt, steps)
        self._whole = reader.whole_negative(negative)
        against = reader.script("" if self._whole else negative, steps, negative=True)
        weights = [part.weight for part in script.parts]
        texts_at = [
            tuple(_text_at(part, step) for part in (*against.parts, *script.parts))
            for step in range(1, steps + 1)
        ]
        self._refuse_too_much(list(dict.fromkeys(texts_at)))
        moments: dict[tuple[str, ...], StepConditioning] = {}
        for texts in texts_at:
            if texts not in moments:
                moments[texts] = self._moment(texts[0], list(zip(texts[1:], weights, strict=True)))
        timeline = [moments[texts] for texts in texts_at]
        self._lookup.look_for_broken_names(reader.words)
        warnings = self._lookup.warnings
        return PromptConditioning(self._used(), script.loras, warnings, tuple(timeline))

    def _refuse_too_much(self, moments: Collection[tuple[str, ...]]) -> None:
        """Raise AppError if the texts of all moments together are too much to encode."""
        characters = sum(map(len, {text for texts in moments for text in texts}))
        chunks = 0
        if characters <= MOST_CHARACTERS:
            counts = {
                texts: max(len(self._chunks_of(text)) for text in (*texts[1:], texts[0]))
                for texts in moments
            }
            chunks = sum(
                count for _, count in {(t, n) for texts, n in counts.items() for t in texts}
            )
        if characters > MOST_CHARACTERS or chunks > MOST_CHUNKS:
            raise AppError(
                "The prompt is too much to prepare: its parts and alternations make too many "
                "different texts. Leave some of them out."
            )

    def _used(self) -> tuple[UsedEmbedding, ...]:
        used = []
        for name, embedding in self._reader.used.items():
            card = self._lookup.card(name)
            short_hash = card.short_hash if card else ""
            used.append(UsedEmbedding(name, short_hash, embedding.content_hash))
        return tuple(used)

    def _moment(self, negative: str, parts: Sequence[tuple[str, float]]) -> StepConditioning:
        """Encode the texts of one step and make those equally long that have to be."""
        texts = (*(text for text, _ in parts), negative)
        count = 0
        if self._settings.equal_lengths:
            count = max(len(self._chunks_of(text)) for text in texts)
        against, against_pooled = self._against(negative, count)
        if self._model.family == "sdxl" and not negative.strip():
            # What SDXL was trained with in place of an empty negative prompt: nothing at all.
            against = against.new_zeros(against.shape)
            if against_pooled is not None:
                against_pooled = against_pooled.new_zeros(against_pooled.shape)
        encoded = _equally_long([self._encode(text, count) for text, _ in parts])
        pooleds = tuple(pooled for _, pooled in encoded if pooled is not None)
        return StepConditioning(
            against,
            tuple(
                (hidden, weight) for (hidden, _), (_, weight) in zip(encoded, parts, strict=True)
            ),
            against_pooled,
            pooleds or None,
        )

    def _against(self, text: str, count: int) -> _EncodedText:
        """Return the conditioning of the negative prompt, as ``_encode``."""
        if self._whole is None:
            return self._encode(text, count)
        [rows] = self._whole.vectors.values()  # [77, width]
        return rows.to(self._model.device, self._model.dtype).repeat(max(count, 1), 1)[None], None

    def _chunks_of(self, text: str) -> tuple[Chunk, ...]:
        if self._stopped():
            raise Interrupted("Interrupted.")
        if text not in self._chunks:
            self._chunks[text] = self._reader.read(text).layout.chunks
        return self._chunks[text]

    def _encode(self, text: str, count: int) -> _EncodedText:
        """Encode a text, filled up with empty chunks to ``count`` of them or more.

        Returns ``[1, 77 * count, width]`` and the first chunk's ``[1, projection]`` or None, both
        in the precision of the UNet.
        """
        chunks = self._chunks_of(text)
        if len(chunks) < count:
            chunks += (chunks[0].emptied(),) * (count - len(chunks))
        key = (self._kind, tuple(map(_chunk_key, chunks)))
        remembered = self._encoded.get(key)
        if remembered is not None:
            return remembered
        model, settings = self._model, self._settings
        encoded = encode(model, chunks, settings.emphasis, settings.clip_skip)
        pooled = None if encoded.pooled is None else encoded.pooled[:1].to(model.dtype)
        made = encoded.hidden.flatten(0, 1).unsqueeze(0).to(model.dtype), pooled
        self._encoded.put(key, made)
        return made


def _equally_long(encoded: Sequence[_EncodedText]) -> list[_EncodedText]:
    """Return encoded texts filled up with their last vectors to the longest of them."""
    longest = max(hidden.shape[1] for hidden, _ in encoded)
    places = range(longest)
    return [
        (hidden[:, [min(place, hidden.shape[1] - 1) for place in places]], pooled)
        for hidden, pooled in encoded
    ]


def _text_at(part: Part, number: int) -> str:
    """Return the text of a part at a step counted from 1."""
    return next(stage.text for stage in part.stages if number <= stage.last_step)


def _chunk_key(chunk: Chunk) -> Hashable:
    slots = tuple((slot.position, slot.embedding.content_hash, slot.word) for slot in chunk.slots)
    return (chunk.token_ids, chunk.weights, slots)


def _identity(model: Model) -> Hashable:
    encoders = tuple(weakref.ref(encoder.model) for encoder in model.text_encoders)
    return (str(model.path), model.short_hash, str(model.device), str(model.dtype), encoders)


def _is_current(used: UsedEmbedding, embeddings: EmbeddingSource) -> bool:
    try:
        embedding = embeddings.get(used.name)
    except AppError:
        return False
    return embedding is not None and embedding.content_hash == used.content_hash


class _Recent(Generic[Value]):
    """The values used last, by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
