"""Embedding files of every kind: one place to read, inspect and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT, Embedding, hash_arrays
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
from webui.reader_process import HERE, Answer, Ended, Faulty, Reader
from webui.tensor_files.stored import Damaged

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

__all__ = [
    "Kind",
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


def inspect(path: Path, hashed: bool = True, reader: Reader = HERE) -> Inspection:
    """Read everything in a file; the content decides its format, not the ending.

    Its SHA-256 is taken only if wanted. ``reader`` may be another process.
    Raises Refused with the reasons (NoEmbedding for a plain picture), OSError if the file cannot
    be opened. Nothing in the file is ever run.
    """
    return inspection(path, *ask(reader, path, told, str(path), hashed))


def ask(reader: Reader, path: Path, *question: Any) -> Answer:
    """Ask a reader about a file. Raises Refused where the reader itself fails, and OSError."""
    try:
        return reader.ask(*question)
    except (Ended, Faulty) as fault:
        raise Refused(path, str(fault)) from fault


def told(path: str, hashed: bool, with_vectors: bool = True) -> Answer:
    """Return everything in a file as plain data that can go from process to process.

    Refused comes as data as well. Without the vectors only their sizes and hashes are told.
    """
    here, source = Path(path), None
    try:
        with Source(here) as source:
            content = _open(source)
            found = find(content)
            for one in found:
                check_finite(one.vectors)
            facts = {
                "embeddings": [_facts_of(one) for one in found],
                "format": _describe(found[0].layout, content.container, here),
                "metadata": {shown(key): shown(text) for key, text in content.metadata.items()},
                "short_hash": source.short_hash if hashed else "",
                "size_bytes": source.size_bytes,
            }
    except (Broken, Damaged) as reason:
        empty = isinstance(reason, NothingInside)
        short_hash = source.short_hash_so_far if source and not empty else ""
        reason_text = torch_file.DAMAGED if isinstance(reason, Damaged) else str(reason)
        return {"refused": reason_text, "empty": empty, "short_hash": short_hash}, b""
    vectors = (array for one in found for array in one.vectors.values())
    return facts, b"".join(array.tobytes() for array in vectors) if with_vectors else b""


def inspection(path: Path, facts: Mapping[str, Any], numbers: bytes) -> Inspection:
    """Return what ``told`` has told, with its vectors. Raises Refused if it says so."""
    check_told(path, facts)
    return Inspection(
        embeddings_of(path, facts, numbers),
        facts["format"],
        facts["metadata"],
        facts["short_hash"],
        facts["size_bytes"],
    )


def check_told(path: Path | str, facts: Mapping[str, Any]) -> None:
    """Raise Refused or NoEmbedding if that is what ``told`` has told."""
    if "refused" in facts:
        kind = NoEmbedding if facts["empty"] else Refused
        raise kind(Path(path), facts["refused"], facts["short_hash"])


def embeddings_of(path: Path, facts: Mapping[str, Any], numbers: bytes) -> tuple[Embedding, ...]:
    """Return the embeddings that ``told`` has told."""
    embeddings, start = [], 0
    for one in facts["embeddings"]:
        vectors = {}
        for key, (rows, width) in one["shapes"].items():
            end = start + rows * width * 4
            vectors[key], start = _tensor(numbers[start:end], rows, width), end
        kept = {key: value for key, value in one.items() if key != "shapes"}
        embeddings.append(Embedding(name=path.stem, vectors=vectors, source=path, **kept))
    return tuple(embeddings)


def _facts_of(found: Found) -> dict[str, Any]:
    """Return what is known of an embedding but its vectors."""
    return {
        "step": found.step,
        "trained_on": found.trained_on and shown(found.trained_on),
        "trained_on_hash": found.trained_on_hash and shown(found.trained_on_hash),
        "inner_name": found.inner_name and shown(found.inner_name),
        "kind": OUTPUT if is_encoder_output(found.vectors) else found.kind,
        "initializer": found.initializer and shown(found.initializer),
        "known_hash": hash_arrays(found.vectors),
        "shapes": {key: array.shape for key, array in found.vectors.items()},
    }


def _tensor(numbers: bytes, rows: int, width: int) -> Tensor:
    """Return float32 numbers as a tensor ``[rows, width]`` with memory of its own."""
    import torch

    return torch.frombuffer(bytearray(numbers), dtype=torch.float32).reshape(rows, width)


def read(path: Path, reader: Reader = HERE) -> Embedding:
    """Read the embedding of a file; of several, the first (``*`` before others).

    Raises Refused, an UnreadableFile with all reasons in a sentence or two.
    """
    return read_all(path, reader)[0]


def read_all(path: Path, reader: Reader = HERE) -> Sequence[Embedding]:
    """Read every embedding of a file. Raises Refused."""
    try:
        return inspect(path, False, reader).embeddings
    except OSError as fault:
        raise Refused(path, f"It cannot be opened: {fault.strerror or fault}.") from fault


def read_bundle(path: Path, reader: Reader = HERE) -> tuple[Embedding, ...]:
    """Read the embeddings that travel inside a LoRA file; none from one that brings none.

    Raises Refused where there are some that cannot be read.
    """
    try:
        facts, numbers = ask(reader, path, bundle_told, str(path))
    except OSError as fault:
        raise Refused(path, f"It cannot be opened: {fault.strerror or fault}.") from fault
    check_told(path, facts)
    found = embeddings_of(path, facts, numbers)
    return tuple(replace(one, name=str(one.inner_name)) for one in found)


def bundle_told(path: str) -> Answer:
    """Return the embeddings inside a LoRA file as plain data; Refused comes as data as well."""
    try:
        with Source(Path(path)) as source:
            content = safetensors_file.read(source)
            found = [one for one in bundle(content.values) if one.inner_name]
            for one in found:
                check_finite(one.vectors)
    except NotMine:
        return {"embeddings": []}, b""
    except Broken as reason:
        return {"refused": str(reason), "empty": False, "short_hash": ""}, b""
    vectors = (array for one in found for array in one.vectors.values())
    return {"embeddings": [_facts_of(one) for one in found]}, b"".join(
        array.tobytes() for array in vectors
    )


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
