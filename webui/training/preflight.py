"""Training pictures looked over before a run: what makes them unfit or poor to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from webui.training.crops import Size, extent, size_in
from webui.training.dataset import MAXIMUM, MINIMUM, Picture, count_problem

_BLURRED = 0.05
"""Of sharp pictures more than 0.15 of the contrast vanishes when they are blurred a little."""


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about the pictures before training on them."""

    stops: bool
    """Whether training is impossible; all else is advice."""
    file: str | None
    """Name of the picture it is about; None = about all of them."""
    message: str


def preflight(
    pictures: Sequence[Picture], side: int, buckets: Sequence[Size] = ()
) -> list[Finding]:
    """Look for what makes pictures unfit or poor to learn from; the worst first.

    ``side`` and ``buckets`` as for ``make_crops``.
    """
    findings = []
    if not MINIMUM <= len(pictures) <= MAXIMUM:
        findings.append(Finding(True, None, count_problem(len(pictures))))
    small = [ImageOps.fit(picture.image.convert("L"), (9, 8)) for picture in pictures]
    prints = [_difference_hash(image) for image in small]
    for index, picture in enumerate(pictures):
        findings += _look_at(picture, size_in(picture, side, buckets))
        for other in range(index):
            same = pictures[other].sha256 == picture.sha256
            if same or (prints[other] ^ prints[index]).bit_count() <= 2:
                kind = "the same as" if same else "nearly the same as"
                name = pictures[other].path.name
                findings.append(
                    Finding(False, picture.path.name, f"is {kind} “{name}”; leave one out.")
                )
                break
    if len(pictures) >= MINIMUM and _corners_alike(pictures):
        findings.append(
            Finding(
                False,
                None,
                "All images have the same background, which will be learned with the thing. "
                "Use different backgrounds, or transparent ones.",
            )
        )
    return sorted(findings, key=lambda finding: not finding.stops)


def _look_at(picture: Picture, cut: Size) -> list[Finding]:
    """Look at a picture that will be cut to a size."""
    findings = []
    name, (width, height) = picture.path.name, picture.image.size
    kept_width, kept_height = extent(picture.image.size, cut[0] / cut[1])
    square, side = cut[0] == cut[1], min(cut)
    if round(kept_width) < cut[0] or round(kept_height) < cut[1]:
        trained = f"{side} pixels" if square else f"{cut[0]}×{cut[1]} pixels"
        message = f"is {width}×{height}, smaller than the {trained} it is trained at."
        findings.append(Finding(False, name, message))
    elif width * height > 2.2 * kept_width * kept_height:
        used = "a square" if square else "a part"
        message = f"is much longer than wide; only {used} of it is used. Crop it yourself."
        findings.append(Finding(False, name, message))
    values = np.asarray(ImageOps.fit(picture.image, (128, 128)).convert("L"), dtype=np.float32)
    if values.std() < 3:
        findings.append(Finding(False, name, "is almost one plain colour."))
    elif min(width, height) >= side and _sharpness(picture.image, side) < _BLURRED:
        findings.append(Finding(False, name, "looks blurred; a sharp image teaches more."))
    return findings


def _sharpness(image: Image.Image, side: int) -> float:
    """Return how much of the picture's contrast vanishes when it is blurred a little, 0 to 1."""
    grey = ImageOps.fit(image, (side, side)).convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(1.5))
    sharp = np.asarray(grey, dtype=np.float32)
    lost = (sharp - np.asarray(soft, dtype=np.float32)).std()
    return float(lost / max(1.0, sharp.std()))


def _difference_hash(image: Image.Image) -> int:
    """Return 64 bits that near-duplicates share: whether each of 8x8 points is darker than its
    neighbour."""
    values = np.asarray(image, dtype=np.int16)
    bits = (values[:, 1:] > values[:, :-1] + 2).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _corners_alike(pictures: Sequence[Picture]) -> bool:
    """Whether the corners have the same colours in every picture."""
    corners = []
    for picture in pictures:
        if picture.mask is not None:
            return False
        values = np.asarray(ImageOps.fit(picture.image, (16, 16)), dtype=np.float32)
        parts = (values[:3, :3], values[:3, -3:], values[-3:, :3], values[-3:, -3:])
        corners.append([part.mean(axis=(0, 1)) for part in parts])
    return bool(np.std(np.array(corners), axis=0).max() < 8)
