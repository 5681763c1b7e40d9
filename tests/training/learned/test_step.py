"""What was learned at a step, as files hold it."""

from __future__ import annotations

import pytest
import torch

from webui.training.learned.step import as_tensors, from_tensors, learned_step


@pytest.mark.parametrize("names", [("my-cat",), ("my-cat", "a.dog")])
def test_vectors_come_back_from_a_file_by_their_names(names: tuple[str, ...]):
    vectors = {
        name: {"clip_l": torch.randn(2 + number, 4), "clip_g": torch.randn(2 + number, 6)}
        for number, name in enumerate(names)
    }
    lora = {"lora_unet_mid_attn1_to_q.lora_up.weight": torch.randn(4, 2)}
    tensors = as_tensors(vectors, lora)
    assert ("clip_l" in tensors) == (len(names) == 1), "as files of one name always were"
    found = learned_step(7, *from_tensors(names, tensors), ("tiny", "0" * 10))
    assert found.lora.keys() == lora.keys()
    assert found.vectors.keys() == vectors.keys()
    for embedding in found.embeddings:
        assert embedding.step == 7 and embedding.trained_on == "tiny"
        for key, rows in vectors[embedding.name].items():
            assert torch.equal(embedding.vectors[key], rows)
