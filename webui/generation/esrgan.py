"""Networks that enlarge pictures: ESRGAN and Real-ESRGAN, of whichever trainer's file.

Wang et al. 2018, "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", and Wang et
al. 2021, "Real-ESRGAN". They are our own because the library that reads all such networks needs
torchvision, whose usual build does not go with torch's build for processors alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import UnreadableFile
from webui.models.weights_file import open_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TILE, OVERLAP = 192, 16
"""Side of the squares in which pictures are enlarged, and what two of them share, in pixels."""
_MOST_WEIGHTS = 100_000_000
"""Numbers in a file; ESRGAN has 17 million."""
_RESIDUAL = 0.2
"""What a block's output is multiplied by before it is added to its input."""
_OLD_NAMES = (
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.(?=weight|bias)", "conv_body."),
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv(\d)\.", r"conv_up\1."),
    (r"HRconv\.", "conv_hr."),
)
"""Names of tensors in files of 2018, and in those of today."""

Network = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Upscaler:
    """A network that is ready to enlarge."""

    scale: int
    """How many times larger its pictures are."""
    run: Callable[[Tensor], Tensor]
    """Takes ``[batch, 3, h, w]`` in 0 to 1 and returns ``[batch, 3, h · scale, w · scale]``."""

    def enlarge(
        self,
        picture: Tensor,
        tile: int = TILE,
        overlap: int = OVERLAP,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Return a picture ``[1, 3, h, w]`` in 0 to 1 enlarged, in squares that fade into another.

        That bounds the memory: the network's own grows with the pixels it sees at once. ``check``
        is called before each square and may raise.
        """
        import torch

        height, width = picture.shape[2:]
        scale = self.scale
        total = picture.new_zeros(1, 3, height * scale, width * scale)
        weights = picture.new_zeros(1, 1, height * scale, width * scale)
        for top in _starts(height, tile, overlap):
            for left in _starts(width, tile, overlap):
                check()
                part = picture[:, :, top : top + tile, left : left + tile]
                with torch.inference_mode():
                    large = self.run(part)
                fade = _fade(large, overlap * scale)
                rows = slice(top * scale, top * scale + large.shape[2])
                columns = slice(left * scale, left * scale + large.shape[3])
                total[:, :, rows, columns] += large * fade
                weights[:, :, rows, columns] += fade
        return total / weights


def read_upscaler(path: Path, device: torch.device) -> Upscaler:
    """Return the network in a file, on a device in float32; the last one asked for is kept.

    Nothing in the file is ever run. Raises UnreadableFile, naming the file and the reason.
    """
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size, device)


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, size_bytes: int, device: torch.device) -> Upscaler:
    with open_weights(path) as weights:
        count = sum(_product(entry.shape) for entry in weights.entries.values())
        if count > _MOST_WEIGHTS:
            raise UnreadableFile(f"{path.name} is too large to be an upscaler.")
        tensors = {
            _todays_name(name): weights.read(name).to(device).float() for name in weights.entries
        }
    try:
        found = _dense(tensors) if "conv_first.weight" in tensors else _compact(tensors)
        _try(found, device)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise UnreadableFile(
            f"{path.name} is no upscaler that this app can use. It reads ESRGAN, Real-ESRGAN and "
            "Real-ESRGAN's compact networks."
        ) from error
    return found


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _todays_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        name = re.sub(f"^{old}", new, name)
    return name


def _try(upscaler: Upscaler, device: torch.device) -> None:
    """Raise ValueError or RuntimeError if a network does not enlarge as it should."""
    import torch

    with torch.inference_mode():
        shape = upscaler.run(torch.zeros(1, 3, 16, 16, device=device)).shape
    if tuple(shape) != (1, 3, 16 * upscaler.scale, 16 * upscaler.scale):
        raise ValueError("another size")


def _dense(network: Network) -> Upscaler:
    """Return ESRGAN: residual blocks of dense blocks, then doublings.

    Networks that enlarge less than their doublings do take pictures whose pixels were folded into
    channels before.
    """
    from torch.nn.functional import conv2d, interpolate, leaky_relu, pixel_unshuffle

    network = _with_old_tail(network)
    blocks = 1 + max(int(name.split(".")[1]) for name in network if name.startswith("body."))
    doublings = 0
    while f"conv_up{doublings + 1}.weight" in network:
        doublings += 1
    fold = {3: 1, 12: 2, 48: 4}[network["conv_first.weight"].shape[1]]

    def conv(pictures: Tensor, name: str) -> Tensor:
        return conv2d(pictures, network[f"{name}.weight"], network[f"{name}.bias"], padding=1)

    def relu(pictures: Tensor) -> Tensor:
        return leaky_relu(pictures, 0.2)

    def dense_block(start: Tensor, name: str) -> Tensor:
        import torch

        known = start
        for number in range(1, 5):
            known = torch.cat([known, relu(conv(known, f"{name}.conv{number}"))], dim=1)
        return conv(known, f"{name}.conv5") * _RESIDUAL + start

    def run(pictures: Tensor) -> Tensor:
        first = conv(pixel_unshuffle(pictures, fold), "conv_first")
        state = first
        for number in range(blocks):
            start = state
            for part in (1, 2, 3):
                state = dense_block(state, f"body.{number}.rdb{part}")
            state = state * _RESIDUAL + start
        state = first + conv(state, "conv_body")
        for number in range(1, doublings + 1):
            state = relu(conv(interpolate(state, scale_factor=2.0), f"conv_up{number}"))
        return conv(relu(conv(state, "conv_hr")), "conv_last")

    return Upscaler(2**doublings // fold, run)


def _with_old_tail(network: Network) -> Network:
    """Return a network of 2018 with today's names for what follows its blocks.

    There the layers are only numbered: doublings two or three apart, then two convolutions.
    """
    numbers = sorted(
        int(name.split(".")[1]) for name in network if re.fullmatch(r"model\.\d+\.weight", name)
    )
    if not numbers:
        return network
    *doublings, high, last = numbers
    names = {number: f"conv_up{place}" for place, number in enumerate(doublings, 1)}
    names |= {high: "conv_hr", last: "conv_last"}
    if any(after - before > 3 for before, after in pairwise(numbers)):
        raise ValueError("layers are missing")
    return {
        re.sub(r"^model\.(\d+)", lambda match: names[int(match[1])], name): tensor
        for name, tensor in network.items()
    }


def _compact(network: Network) -> Upscaler:
    """Return Real-ESRGAN's compact network: plain convolutions, and the picture added at the end.

    Activations have a slope a channel; they and the convolutions take turns.
    """
    from torch.nn.functional import conv2d, interpolate, pixel_shuffle, prelu

    last = max(int(name.split(".")[1]) for name in network)
    scale = round((network[f"body.{last}.weight"].shape[0] / 3) ** 0.5)

    def run(pictures: Tensor) -> Tensor:
        state = pictures
        for number in range(last + 1):
            weight = network[f"body.{number}.weight"]
            if weight.dim() == 1:
                state = prelu(state, weight)
            else:
                state = conv2d(state, weight, network[f"body.{number}.bias"], padding=1)
        return pixel_shuffle(state, scale) + interpolate(pictures, scale_factor=float(scale))

    return Upscaler(scale, run)


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where squares of a side begin so that they cover a length, evenly spread."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def _fade(part: Tensor, margin: int) -> Tensor:
    """Return the weights of a square, ``[1, 1, h, w]``: 1 inside, less towards its edges."""
    import torch

    height, width = part.shape[2:]
    sides = []
    for length in (height, width):
        place = torch.arange(length, device=part.device, dtype=part.dtype)
        edge = torch.minimum(place, length - 1 - place) + 1
        sides.append((edge / max(1, margin)).clamp(max=1))
    return (sides[0][:, None] * sides[1][None, :])[None, None]
