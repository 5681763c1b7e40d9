"""What the panel about one embedding says: its facts, its vectors, the text inside the file."""

from __future__ import annotations

from datetime import datetime
from html import escape

from webui.embeddings.embedding import OUTPUT
from webui.embeddings.health import Health, examine
from webui.embeddings.library import Card
from webui.errors import AppError
from webui.studio.card_feed import made_for
from webui.studio.studio import Studio
from webui.ui.markup import Verbatim, facts, message

LONGEST_VALUE = 2000
"""Characters shown of one entry of the text inside a file."""
OF_OUTPUT = "a text encoder's output, in the place of a whole negative prompt"
MOST_VECTORS = 16
"""Vectors whose nearest words are listed."""


def about(studio: Studio, card: Card) -> str:
    """Return what is known of a file."""
    uses, said = studio.history.uses(card.name, card.short_hash), card.notes.published
    return facts(
        [
            ("Name", Verbatim(card.name)),
            ("Name inside", Verbatim(card.inner_name if card.inner_name != card.name else "")),
            ("Made for", made_for(card)),
            ("What it is", OF_OUTPUT if card.kind == OUTPUT else None),
            ("Vectors", card.vectors or None),
            ("Trained on", Verbatim(card.trained_on or "")),
            ("Steps", card.step),
            ("Format", card.format),
            ("File", Verbatim(f"{card.folder}/{card.path.name}".lstrip("/"))),
            ("Size", f"{card.size_bytes / 1024:,.1f} kB"),
            ("Added", _when(card.added)),
            ("Changed", _when(card.modified)),
            ("Used in", f"{uses} image{'' if uses == 1 else 's'}" if uses else None),
            ("SHA-256", card.short_hash),
            ("Vectors' hash", card.content_hash),
            ("On CivitAI", Verbatim(said.name)),
            ("Base model", Verbatim(said.base_model)),
            ("Trigger words", Verbatim(", ".join(said.words))),
            ("Link", Verbatim(said.link)),
        ]
    )


def vectors(studio: Studio, card: Card) -> str:
    """Return how the vectors look beside the loaded model's words, for each text encoder."""
    embedding = studio.library.get(card.name) if card.usable else None
    model = studio.models.state.model
    if embedding is None:
        return message("The vectors of this file are not in use.")
    if embedding.kind == OUTPUT:
        return message("These are no words' vectors, and are not compared with words.")
    if model is None:
        return message("Load a model to compare the vectors with its words.")
    parts = []
    for encoder in model.text_encoders:
        if encoder.key not in embedding.vectors:
            continue
        try:
            health = examine(
                embedding.vectors[encoder.key],
                encoder.vocabulary.weight,
                lambda word: str(model.tokenizer.decode([word])),
            )
        except AppError as error:
            parts.append(message(str(error), "warn"))
            continue
        parts.append(_health(health))
    return "".join(parts) or message("The loaded model has no text encoder for these vectors.")


def inside(studio: Studio, card: Card) -> str:
    """Return the free text in the file, such as the recipe; all of it is a stranger's."""
    try:
        metadata = studio.library.metadata(card.name, card.path)
    except AppError as error:
        return message(str(error), "warn")
    if not metadata:
        return message("The file says nothing more about itself.")
    return facts(
        (Verbatim(key[:80]), Verbatim(value[:LONGEST_VALUE]))
        for key, value in sorted(metadata.items())
    )


def _health(health: Health) -> str:
    remarks = "".join(message(text, "warn") for text in health.remarks)
    fine = "" if remarks else message("Nothing out of the ordinary.", "good")
    rows = "".join(
        f"<tr><td>{number}</td><td>{vector.relative_norm:.2f}</td>"
        f'<td translate="no">{escape(", ".join(word for word, _ in vector.nearest))}</td></tr>'
        for number, vector in enumerate(health.vectors[:MOST_VECTORS], start=1)
    )
    more = len(health.vectors) - MOST_VECTORS
    rest = f'<p class="hint">and {more} more</p>' if more > 0 else ""
    head = "<tr><th>Vector</th><th>Length*</th><th>Nearest words of the model</th></tr>"
    note = '<p class="hint">* Vector length vs. ordinary words; 0.5 to 2 is usual.</p>'
    return f'{remarks}{fine}<table class="facts">{head}{rows}</table>{rest}{note}'


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else ""
