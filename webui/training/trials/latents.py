"""What the VAE made of crops, kept, so that each is encoded once however often it is tried."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import Tensor

from webui.training.denoising import encode_crop

if TYPE_CHECKING:
    from torch import nn

    from webui.models.model import Model
    from webui.training.crops import Crop

Hold = Callable[[str], AbstractContextManager[None]]
"""Waits for the device and holds it inside the ``with`` block; given who asks."""
Moments = tuple[Tensor, Tensor]
"""Mean and std ``[4, h, w]`` of a crop's latent."""
MOST = 64
"""Crops that are kept for a VAE."""


class LatentCache:
    """Keeps the moments of the crops used last, for as long as their VAE is there."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[nn.Module, OrderedDict[bytes, Moments]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def moments(self, model: Model, crop: Crop) -> Moments:
        """Return a crop's moments, encoded now or before; whoever asks holds the device."""
        key = hashlib.sha256(repr(crop.image.size).encode() + crop.image.tobytes()).digest()
        with self._lock:
            kept = self._kept.setdefault(model.vae, OrderedDict())
            found = kept.get(key)
        if found is None:
            found = encode_crop(model, crop)
        with self._lock:
            kept[key] = found
            kept.move_to_end(key)
            while len(kept) > MOST:
                kept.popitem(last=False)
        return found
