"""Pictures with an embedding inside, as A1111 makes them to be shared: read and written.

The data is JSON, in which a tensor is ``{"TORCHTENSOR": nested lists}``. It lies in the PNG text
``sd-ti-embedding`` as base64, and once more in the pixels (see ``picture_pixels``), where it
survives sites that strip texts. Nothing in it can be run.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.embeddings.formats import picture_pixels
from webui.embeddings.formats.source import (
    MAX_WHOLE_BYTES,
    Broken,
    Content,
    NothingInside,
    NotMine,
    Source,
)
from webui.errors import AppError
from webui.plain_json import check
from webui.tensor_files.stored import stored

TEXT_KEY = "sd-ti-embedding"
MAX_JSON_BYTES = 32 << 20
MAX_ITEMS = 2_000_000
"""Numbers and other values of that JSON; 75 vectors for SDXL have 154,000."""
MAX_PIXELS = 60_000_000
FORMATS = ("PNG", "WEBP", "AVIF", "JPEG", "GIF")
DAMAGED = "It is an image with an embedding inside, but the data is damaged."
_PLAIN = "It is an image without an embedding inside."


def read(source: Source) -> Content:
    """Read the embedding in a picture. Raises NotMine, NothingInside or Broken."""
    if not _is_picture(source.head):
        raise NotMine("not an image")
    if source.size_bytes > MAX_WHOLE_BYTES:
        raise NothingInside(_PLAIN)
    text, pixels = _open(source.whole)
    if isinstance(text, str):
        try:
            packed = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError) as fault:
            raise Broken("Its text “sd-ti-embedding” is damaged.") from fault
        if len(packed) > MAX_JSON_BYTES:
            raise Broken("Its text “sd-ti-embedding” is larger than any embedding.")
        return Content("picture", _decode(packed))
    if pixels is None:
        raise NothingInside(_PLAIN)
    found = picture_pixels.extract(pixels, MAX_JSON_BYTES)
    if found is None:
        raise NothingInside(_PLAIN)
    return Content("picture", _decode(found))


def write(values: Mapping[str, Any], image: Image.Image | None, suffix: str) -> bytes:
    """Return a PNG or lossless WebP picture with ``values`` inside.

    ``image`` is kept as it is between two noisy strips; without one, a pattern of the vectors is
    drawn. Raises AppError for endings of formats that lose detail.
    """
    if suffix not in (".png", ".webp"):
        raise AppError("An image embedding can be written as .png or .webp.")
    packed = json.dumps(values, default=_encode_tensor).encode()
    base = (image or picture_pixels.pattern(_first_tensor(values))).convert("RGB")
    filled = picture_pixels.insert(base, packed)
    buffer = io.BytesIO()
    if suffix == ".webp":
        filled.save(buffer, "WEBP", lossless=True, exact=True)
    else:
        texts = PngInfo()
        texts.add_text(TEXT_KEY, base64.b64encode(packed).decode())
        filled.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def _is_picture(head: bytes) -> bool:
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"\xff\x0a"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[4:12] in (b"ftypavif", b"ftypavis")
        or head[4:12] == b"JXL \r\n\x87\n"
    )


def _open(data: bytes) -> tuple[Any, Any]:
    """Return the text under TEXT_KEY (or None) and else the pixels ``[h, w, 3]`` (or None)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if text := image.info.get(TEXT_KEY):
            return text, None
        if image.width * image.height > MAX_PIXELS or image.format not in ("PNG", "WEBP", "AVIF"):
            return None, None
        return None, numpy.asarray(image.convert("RGB"))
    except Exception as fault:
        raise NothingInside(f"{_PLAIN} It may be damaged ({type(fault).__name__}).") from fault


def _decode(packed: bytes) -> Any:
    """Return the JSON's content with its tensors. Raises Broken."""
    try:
        check(packed, MAX_ITEMS)
        return json.loads(packed, object_hook=_decode_tensor)
    except (ValueError, TypeError, RecursionError, OverflowError) as fault:
        raise Broken(DAMAGED) from fault


def _decode_tensor(value: dict[str, Any]) -> Any:
    if "TORCHTENSOR" not in value:
        return value
    return stored(numpy.array(value["TORCHTENSOR"], "<f4"))


def _encode_tensor(value: Any) -> dict[str, Any]:
    return {"TORCHTENSOR": value.detach().cpu().float().tolist()}


def _first_tensor(values: Mapping[str, Any]) -> Any:
    """Return the first tensor ``[n, width]`` in A1111's layout."""
    params = values.get("string_to_param", values)
    return next(value for value in params.values() if hasattr(value, "detach"))
