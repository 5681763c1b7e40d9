"""Vectors beside a vocabulary: lengths, nearest words, and remarks on what is odd."""

from __future__ import annotations

import pytest
import torch

from tests.embeddings.embedding_parts import rows
from webui.embeddings.health import examine
from webui.errors import AppError

WORDS = torch.nn.functional.normalize(rows(50, 16), dim=1) * 0.4


def test_a_word_is_its_own_nearest_word():
    health = examine(WORDS[[7]] * 1.5, WORDS, lambda row: f"word{row}", count=3)
    [vector] = health.vectors
    assert vector.nearest[0] == ("word7", pytest.approx(1.0, abs=1e-4))
    assert len(vector.nearest) == 3 and vector.nearest[1][1] < 1
    assert health.vocabulary_norm == pytest.approx(0.4)
    assert vector.norm == pytest.approx(0.6) and vector.relative_norm == pytest.approx(1.5)
    assert any("hardly been trained" in remark for remark in health.remarks)


def test_odd_lengths_and_numbers_are_remarked_on():
    vectors = torch.stack([rows(1, 16)[0] * 9, rows(1, 16)[0] * 1e-3, torch.full((16,), torch.nan)])
    health = examine(vectors, WORDS, str)
    assert [vector.finite for vector in health.vectors] == [True, True, False]
    long, short = health.remarks[1], health.remarks[2]
    assert "NaN" in health.remarks[0] and "(3)" in health.remarks[0]
    assert "(1)" in long and "overtrained" in long and "(2)" in short


def test_healthy_vectors_get_no_remark():
    mixed = torch.nn.functional.normalize(WORDS[0] + WORDS[1] + WORDS[2], dim=0) * 0.5
    assert examine(mixed[None], WORDS, str).remarks == ()


def test_other_widths_cannot_be_compared():
    with pytest.raises(AppError, match="768 wide"):
        examine(rows(1, 768), WORDS, str)
