"""Chunks through text encoders, and what weights do to what comes out."""

from __future__ import annotations

import torch

from webui.embeddings.embedding import Embedding
from webui.models.model import Model
from webui.prompting.chunks import Insert, Words, lay_out
from webui.prompting.encoding import embed, emphasize, encode, size_conditioning


def parts(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(2, 77, 8) + 0.3
    weights = torch.ones(2, 77)
    weights[1, 5:9] = 1.4
    return hidden, weights


def test_original_multiplies_and_restores_the_mean_of_each_chunk():
    hidden, weights = parts()
    result = emphasize(hidden, weights, "original")
    torch.testing.assert_close(result[0], hidden[0])
    torch.testing.assert_close(result[1].mean(), hidden[1].mean())
    factor = hidden[1].mean() / (hidden[1] * weights[1, :, None]).mean()
    torch.testing.assert_close(result[1, 6], hidden[1, 6] * 1.4 * factor)


def test_no_norm_only_multiplies():
    hidden, weights = parts()
    result = emphasize(hidden, weights, "no_norm")
    torch.testing.assert_close(result, hidden * weights[..., None])


def test_ignore_and_none_leave_the_output_as_it_is():
    hidden, weights = parts()
    assert emphasize(hidden, weights, "ignore") is hidden
    assert emphasize(hidden, weights, "none") is hidden


def test_comfy_moves_weighted_positions_on_the_line_from_the_empty_prompt():
    hidden, weights = parts()
    empty = torch.randn(1, 77, 8)
    result = emphasize(hidden, weights, "comfy", empty)
    torch.testing.assert_close(result[0], hidden[0])
    torch.testing.assert_close(result[1, 6], empty[0, 6] + 1.4 * (hidden[1, 6] - empty[0, 6]))


def test_a_mean_near_zero_is_not_restored():
    hidden = torch.ones(1, 77, 2)
    weights = torch.ones(1, 77)
    weights[0, :38] = -1  # the new mean is 1/77 of what it was
    weights[0, 38] = 0.001
    result = emphasize(hidden, weights, "original")
    torch.testing.assert_close(result, hidden * weights[..., None])
    assert result.abs().max() == 1


def test_vectors_of_words_give_what_the_words_give_and_the_vocabulary_stays(sd1: Model):
    [encoder] = sd1.text_encoders
    table = encoder.model.get_input_embeddings().weight
    before = table.detach().clone()
    embedding = Embedding("cat", {"clip_l": table[[2368, 1125]].detach()})
    [with_vectors] = lay_out([Insert(embedding)], 49406, 49407, 267).chunks
    [with_words] = lay_out([Words((2368, 1125))], 49406, 49407, 267).chunks
    assert torch.equal(embed(encoder, [with_vectors]), embed(encoder, [with_words]))
    assert torch.equal(table, before)


def test_more_chunks_than_go_through_at_once_are_encoded_as_each_by_itself(sd1: Model):
    chunks = [lay_out([Words((id_,))], 49406, 49407, 267).chunks[0] for id_ in range(320, 340)]
    alone = torch.cat([encode(sd1, [chunk]).hidden for chunk in chunks])
    torch.testing.assert_close(encode(sd1, chunks).hidden, alone)


def test_only_openclips_encoders_read_zeros_after_the_end(sdxl: Model):
    first, second = sdxl.text_encoders
    [chunk] = lay_out([Words((2368,))], 49406, 49407, 267).chunks
    for encoder, padding in ((first, 49407), (second, 0)):
        table = encoder.model.get_input_embeddings().weight
        expected = table[[49406, 2368, 49407, *[padding] * 74]]
        assert torch.equal(embed(encoder, [chunk])[0], expected)


def test_sdxl_is_told_the_size_once_a_text_and_others_are_told_nothing(sd1: Model):
    found = size_conditioning(sd1, torch.zeros(2, 12), height=64, width=32)
    assert found["time_ids"].tolist() == [[64, 32, 0, 0, 64, 32]] * 2
    assert found["text_embeds"].shape == (2, 12)
    assert size_conditioning(sd1, None, 64, 32) is None
