"""The parameters text inside a picture, whichever program has drawn it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from webui.errors import AppError
from webui.generation.metadata.comfy_graph import read_graph
from webui.generation.outputs import PARAMETERS
from webui.images import opened
from webui.reader_process import Answer, Ended, Faulty, Reader, shared_reader

MAX_TEXT = 100_000
"""Longest parameters text in characters."""
MAX_GRAPH = 2_000_000
"""Longest workflow of ComfyUI in characters."""
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_MAKE, _MODEL = 0x010F, 0x0110
_UNICODE, _ASCII = b"UNICODE\x00", b"ASCII\x00\x00\x00"


@dataclass(frozen=True)
class Inside:
    """A parameters text found in a picture."""

    text: str
    """In AUTOMATIC1111's layout, or whatever text was in its place."""
    source: str
    """Where it was, for people."""


def read_picture(path: Path, reader: Reader | None = None) -> Inside | None:
    """Return the parameters text inside a picture, or None if it has none.

    It is looked into by ``reader``, the shared processes if none is given; see ``inside_told``.
    """
    try:
        told, _ = (reader or shared_reader()).ask(inside_told, str(path))
    except (Ended, Faulty) as error:
        raise AppError(f"{path.name} cannot be read. {error}") from error
    return Inside(**told["inside"]) if told["inside"] else None


def inside_told(path: str) -> Answer:
    """Return the parameters text inside a picture as plain data.

    Looks for AUTOMATIC1111's PNG chunk, the EXIF comment that it writes into JPEG and WebP, and
    ComfyUI's graph, which is put into the same layout. Raises AppError for files that are no
    picture, are damaged or too large, and for texts too long to be parameters.
    """
    with opened(Path(path)) as image:
        texts = dict(_texts(image))
        if not texts and image.format == "PNG":
            image.load()  # chunks may also come after the pixels
            texts = dict(_texts(image))
    for source, text in texts.items():
        if source == _GRAPH:
            _refuse_longer(text, MAX_GRAPH)
            text = read_graph(text) or ""
        if text := text.replace("\x00", "").strip():
            _refuse_longer(text, MAX_TEXT)
            return {"inside": {"text": text, "source": source}}, b""
    return {"inside": None}, b""


_CHUNK, _COMMENT, _GRAPH = "PNG text", "EXIF comment", "ComfyUI graph"


def _texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the texts that may hold parameters, the likeliest first, with their sources."""
    if isinstance(text := image.info.get(PARAMETERS), str):
        yield _CHUNK, text
    exif = image.getexif()
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT) or image.info.get("comment")
    if comment:
        yield _COMMENT, decode_comment(comment)
    graphs = [image.info.get("prompt"), exif.get(_MODEL), exif.get(_MAKE)]
    for graph in graphs:
        if isinstance(graph, str) and graph.removeprefix("prompt:").lstrip().startswith("{"):
            yield _GRAPH, graph.removeprefix("prompt:")
            return


def decode_comment(comment: Any) -> str:
    """Return the text of an EXIF UserComment, whose first 8 bytes name the encoding.

    Programs disagree on the byte order of UNICODE: the one under which the text has fewer
    characters beyond the Latin ones is taken.
    """
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes):
        return ""
    if comment.startswith(_UNICODE):
        body = comment[len(_UNICODE) :]
        both = [body.decode(order, errors="replace") for order in ("utf-16-be", "utf-16-le")]
        return min(both, key=lambda text: sum(char > "\u02ff" for char in text))
    body = comment.removeprefix(_ASCII).removeprefix(bytes(8))
    return body.decode("utf-8", errors="replace")


def _refuse_longer(text: str, most: int) -> None:
    if len(text) > most:
        raise AppError(
            f"The text inside the image has {len(text):,} characters; at most {most:,} are read."
        )
