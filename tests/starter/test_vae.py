"""The starter model's autoencoder, and how its decoder is polished on latents that stay."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from starter import vae as vae_stage
from starter.pictures import picture_at
from starter.shipping import load_parts
from starter.stages import Budget
from starter.vae import encode_all, polish_decoder, reconstruction_loss, to_tensor
from tests.starter.test_shipped import SHIPPED


@pytest.mark.slow
def test_polishing_begins_where_the_decoder_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown latents that it rebuilds well already: parts of them would tell it less."""
    losses = []

    def noted(drawn: Tensor, rebuilt: Tensor) -> Tensor:
        losses.append(reconstruction_loss(drawn, rebuilt))
        return losses[-1]

    monkeypatch.setattr(vae_stage, "reconstruction_loss", noted)
    vae = load_parts(SHIPPED).vae
    pictures = np.stack([picture_at(0, index) for index in range(6)])
    moments = encode_all(vae, pictures)
    before = {name: value.clone() for name, value in vae.state_dict().items()}

    polish_decoder(vae, pictures, moments, Budget(2), tmp_path, peak_lr=1e-4)

    assert len(losses) == 2 and max(losses) < 0.15
    changed = {name for name, value in vae.state_dict().items() if not value.equal(before[name])}
    assert changed and all(name.startswith(("decoder.", "post_quant")) for name in changed)


def test_the_loss_of_a_true_picture_is_nothing() -> None:
    drawn = to_tensor(np.stack([picture_at(0, 0)]))
    assert reconstruction_loss(drawn, drawn) == 0
