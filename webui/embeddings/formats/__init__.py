"""Embedding files of every kind: one place to read, inspect and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT, Embedding
from webui.embeddings.formats import picture, safetensors_file, torch_file
from webui.embeddings.formats.layouts import Found, bundle, find
from webui.embeddings.formats.source import (
    Broken,
    Content,
    NoEmbedding,
    NothingInside,
    NotMine,
    Refused,
    Source,
)
from webui.embeddings.formats.vectors import check_finite, is_encoder_output
from webui.errors import AppError
from webui.files import write_whole
from webui.plain_text import shown

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

__all__ = [
    "Kind",
    "Inspect",
    "Inspection",
    "NoEmbedding",
    "PICTURE_SUFFIXES",
    "Refused",
    "SUFFIXES",
    "VECTOR_SUFFIXES",
    "encode",
    "inspect",
    "read",
    "read_all",
    "read_bundle",
    "write",
]

Kind = Literal["a1111", "diffusers", "safetensors", "picture"]
"""The formats that can be written."""

SUFFIXES: Mapping[Kind, str] = {
    "a1111": ".pt",
    "diffusers": ".bin",
    "safetensors": ".safetensors",
    "picture": ".png",
}
"""The usual ending of each format that can be written."""

VECTOR_SUFFIXES = (".safetensors", ".pt", ".bin")
"""Endings of files made to hold vectors, lower case; earlier ones win a name over later ones."""
PICTURE_SUFFIXES = (".png", ".webp", ".avif", ".jxl")
"""Endings of pictures that may have an embedding inside (lossless formats)."""

CONTAINERS: tuple[Callable[[Source], Content], ...] = (
    torch_file.read,
    safetensors_file.read,
    picture.read,
)


@dataclass(frozen=True)
class Inspection:
    """All that one file says."""

    embeddings: tuple[Embedding, ...]
    """At least one; several where a file has several placeholders."""
    format: str
    """For people, e.g. ``A1111 .pt``."""
    metadata: Mapping[str, str]
    """Free text beside the vectors; hostile until shown as text."""
    short_hash: str
    """First 12 hex digits of the file's SHA-256, "" for a large file."""
    size_bytes: int


def inspect(path: Path, hashed: bool = True) -> Inspection:
    """Read everything in a file; the content decides its format, not the ending.

    Its SHA-256 is taken only if wanted.
    Raises Refused with the reasons (NoEmbedding for a plain picture), OSError if the file cannot
    be opened. Nothing in the file is ever run.
    """
    source = None
    try:
        with Source(path) as source:
            content = _open(source)
            found = find(content)
            embeddings = tuple(_embedding(path, one) for one in found)
            for embedding in embeddings:
                check_finite(embedding.vectors)
            return Inspection(
                embeddings,
                _describe(found[0].layout, content.container, path),
                {shown(key): shown(text) for key, text in content.metadata.items()},
                source.short_hash if hashed else "",
                source.size_bytes,
            )
    except NothingInside as reason:
        raise NoEmbedding(path, str(reason)) from reason
    except Broken as reason:
        raise Refused(path, str(reason), source.short_hash_so_far if source else "") from reason


Inspect = Callable[[Path, bool], Inspection]
"""Something that inspects files as ``inspect`` does, maybe in another process."""


def read(path: Path) -> Embedding:
    """Read the embedding of a file; of several, the first (``*`` before others).

    Raises Refused, an UnreadableFile with all reasons in a sentence or two.
    """
    return read_all(path)[0]


def read_all(path: Path) -> tuple[Embedding, ...]:
    """Read every embedding of a file. Raises Refused."""
    try:
        return inspect(path, hashed=False).embeddings
    except OSError as fault:
        raise Refused(path, f"It cannot be opened: {fault.strerror or fault}.") from fault


def read_bundle(path: Path) -> tuple[Embedding, ...]:
    """Read the embeddings that travel inside a LoRA file; none from one that brings none.

    Raises Refused where there are some that cannot be read.
    """
    try:
        with Source(path) as source:
            content = safetensors_file.read(source)
            found = [one for one in bundle(content.values) if one.inner_name]
            for one in found:
                check_finite(one.vectors)
    except NotMine:
        return ()
    except Broken as reason:
        raise Refused(path, str(reason)) from reason
    except OSError as fault:
        raise Refused(path, f"It cannot be opened: {fault.strerror or fault}.") from fault
    return tuple(replace(_embedding(path, one), name=shown(str(one.inner_name))) for one in found)


def write(
    embedding: Embedding,
    path: Path,
    kind: Kind,
    metadata: Mapping[str, str] | None = None,
    image: Image.Image | None = None,
) -> None:
    """Write an embedding whole or not at all, as ``encode`` gives it."""
    write_whole(path, encode(embedding, kind, metadata, image, path.suffix))


def encode(
    embedding: Embedding,
    kind: Kind,
    metadata: Mapping[str, str] | None = None,
    image: Image.Image | None = None,
    suffix: str = ".png",
) -> bytes:
    """Return the file of an embedding; reading it gives exactly the same vectors.

    ``metadata`` goes into safetensors files; ``image`` is the picture to hide a "picture"
    embedding in, drawn from the vectors if there is none, and ``suffix`` says which kind of it.
    """
    vectors = {key: tensor.detach().to("cpu").float() for key, tensor in embedding.vectors.items()}
    if kind == "a1111":
        return torch_file.write(_as_a1111(embedding, vectors))
    if kind == "diffusers":
        return torch_file.write(_as_tokens(embedding, vectors))
    if kind == "safetensors":
        facts = _facts(embedding) | {str(k): str(v) for k, v in (metadata or {}).items()}
        return safetensors_file.write(_as_tokens(embedding, vectors), facts)
    if kind == "picture":
        return picture.write(_as_a1111(embedding, vectors), image, suffix.lower())
    raise AppError(f"“{kind}” is not a format that can be written.")


def _open(source: Source) -> Content:
    """Return the content from the first container that says "mine"; else raise all reasons."""
    if source.size_bytes == 0:
        raise Broken("It is empty (0 bytes): copying or downloading it failed. Fetch it again.")
    if not source.head.startswith((b"\x80", b"PK")) and source.head[8:9] != b"{":
        torch_file.refuse_plain_pickle(source)
        _refuse_strays(source.head)
    reasons = []
    for container in CONTAINERS:
        try:
            return container(source)
        except NotMine as reason:
            reasons.append(str(reason))
    raise Broken("Its content is of no known format: " + "; ".join(reasons) + ".")


def _refuse_strays(head: bytes) -> None:
    """Raise Broken for what is often found instead of vectors under an embedding's name."""
    if not any(head):
        raise Broken(
            "It begins with nothing but zeros: a download or copy that was never finished. "
            "Fetch it again."
        )
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise Broken(
            "It is a web page, not an embedding: the site answered with a page instead of the "
            "file. Open the link in a browser and download the file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        raise Broken(
            "It is only a pointer of Git LFS, not the file itself. Fetch it with “git lfs pull”."
        )
    if start and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head) and start[:1] != b"{":
        raise Broken("It is a text file under an embedding's name.")


def _embedding(path: Path, found: Found) -> Embedding:
    return Embedding(
        name=path.stem,
        vectors=found.vectors,
        step=found.step,
        trained_on=found.trained_on and shown(found.trained_on),
        trained_on_hash=found.trained_on_hash and shown(found.trained_on_hash),
        inner_name=found.inner_name and shown(found.inner_name),
        source=path,
        kind=OUTPUT if is_encoder_output(found.vectors) else found.kind,
        initializer=found.initializer and shown(found.initializer),
    )


def _describe(layout: str, container: str, path: Path) -> str:
    ending = path.suffix.lower() if container == ".pt" and path.suffix else container
    return f"{layout} {ending}"


def _as_a1111(embedding: Embedding, vectors: Mapping[str, Tensor]) -> dict[str, object]:
    """Lay vectors out as A1111 does: one encoder under ``*`` (265 is its token), two by name."""
    facts: dict[str, object] = {
        "name": embedding.inner_name or embedding.name,
        "step": embedding.step,
        "sd_checkpoint": embedding.trained_on_hash,
        "sd_checkpoint_name": embedding.trained_on,
    }
    if len(vectors) > 1:
        return {**vectors, **facts}
    [tensor] = vectors.values()
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, **facts}


def _as_tokens(embedding: Embedding, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay vectors out as diffusers does: by the token; those for SDXL by the encoders' names."""
    if len(vectors) > 1 or embedding.kind == FIRST_ENCODER:
        return dict(vectors)
    [tensor] = vectors.values()
    return {embedding.name: tensor}


def _facts(embedding: Embedding) -> dict[str, str]:
    """Return what is known beside the vectors, as the text of safetensors metadata."""
    facts = {
        "name": embedding.inner_name or embedding.name,
        "vectors": len(embedding),
        "step": embedding.step,
        "trained_on": embedding.trained_on,
        "trained_on_hash": embedding.trained_on_hash,
        "content_hash": embedding.content_hash,
        "initializer": embedding.initializer,
    }
    return {key: str(value) for key, value in facts.items() if value is not None}
