"""Tokens and embeddings in chunks of 75."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from webui.prompting.chunks import Break, Insert, Layout, Words, lay_out

BOS, EOS, COMMA = 1, 2, 3


@dataclass(frozen=True)
class Vectors:
    """Something as long as an embedding."""

    count: int

    def __len__(self) -> int:
        return self.count


def words(count: int, weight: float = 1.0, first: int = 100) -> Words:
    return Words(tuple(range(first, first + count)), weight)


def comma() -> Words:
    return Words((COMMA,), 1.0)


def laid(*items, backtrack: int = 20) -> Layout:
    return lay_out(items, BOS, EOS, COMMA, backtrack)


def contents(layout: Layout) -> list[int]:
    """How many positions of each chunk are filled, as far as its last token."""
    return [
        max(
            [index for index, id_ in enumerate(chunk.token_ids[:76]) if id_ not in (BOS, EOS)],
            default=0,
        )
        for chunk in layout.chunks
    ]


def test_an_empty_prompt_is_one_empty_chunk():
    layout = laid()
    (chunk,) = layout.chunks
    assert chunk.token_ids == (BOS, *[EOS] * 76)
    assert chunk.weights == (1.0,) * 77
    assert (layout.used, layout.limit) == (0, 75)


def test_content_stands_between_bos_and_eos_with_its_weights():
    (chunk,) = laid(words(2, 1.5)).chunks
    assert chunk.token_ids == (BOS, 100, 101, *[EOS] * 74)
    assert chunk.weights == (1.0, 1.5, 1.5, *[1.0] * 74)


def test_75_tokens_fill_a_chunk_and_the_76th_begins_another():
    assert contents(laid(words(75))) == [75]
    layout = laid(words(76))
    assert contents(layout) == [75, 1]
    assert (layout.used, layout.limit) == (76, 150)
    assert layout.starts == (0, 75)


@pytest.mark.parametrize(
    ("items", "filled"),
    [
        ((words(3), Break(), words(2)), [3, 2]),
        ((Break(), words(2)), [0, 2]),
        ((words(2), Break()), [2]),
        ((words(2), Break(), Break(), words(1)), [2, 0, 1]),
        ((words(75), Break(), words(1)), [75, 1]),
        ((Break(),), [0]),
    ],
)
def test_break_begins_a_new_chunk(items: tuple, filled: list[int]):
    assert contents(laid(*items)) == filled


@pytest.mark.parametrize(
    ("before", "after_comma", "filled"),
    [
        (60, 20, [61, 20]),  # the comma is near: what follows it moves
        (55, 25, [56, 25]),  # exactly 20 back
        (54, 25, [75, 5]),  # 21 back: too far
        (74, 1, [75, 1]),  # the comma is the last of its chunk
    ],
)
def test_a_full_chunk_breaks_at_its_last_comma_if_that_is_near(before, after_comma, filled):
    assert contents(laid(words(before), comma(), words(after_comma))) == filled


def test_a_comma_itself_never_makes_words_move():
    assert contents(laid(words(60), comma(), words(14), comma(), words(3))) == [75, 4]


def test_without_backtracking_chunks_are_filled_to_the_end():
    assert contents(laid(words(60), comma(), words(30), backtrack=0)) == [75, 16]


def test_an_embedding_takes_one_position_a_vector_all_of_one_weight():
    embedding = Vectors(3)
    (chunk,) = laid(words(2), Insert(embedding, 1.3), words(1)).chunks
    assert chunk.token_ids[:7] == (BOS, 100, 101, 0, 0, 0, 100)
    assert chunk.weights[:7] == (1.0, 1.0, 1.0, 1.3, 1.3, 1.3, 1.0)
    assert [(slot.position, slot.embedding) for slot in chunk.slots] == [(3, embedding)]


@pytest.mark.parametrize(
    ("before", "vectors", "filled", "position"),
    [(71, 4, [75], 72), (72, 4, [72, 4], 1), (0, 75, [75], 1), (1, 75, [1, 75], 1)],
)
def test_an_embedding_is_never_split(before, vectors, filled, position):
    layout = laid(words(before), Insert(Vectors(vectors), 1.0))
    assert contents(layout) == filled
    assert layout.chunks[-1].slots[0].position == position


def test_an_embedding_moves_with_its_tokens_when_a_chunk_breaks_at_a_comma():
    embedding = Vectors(4)
    layout = laid(words(65), comma(), Insert(embedding, 1.2), words(8))

    first, second = layout.chunks
    assert contents(layout) == [66, 12]
    assert first.slots == ()
    assert [(slot.position, slot.embedding) for slot in second.slots] == [(1, embedding)]
    assert second.token_ids[1:6] == (0, 0, 0, 0, 100)
    assert second.weights[1:6] == (1.2, 1.2, 1.2, 1.2, 1.0)
    assert layout.starts == (0, 66)


def test_an_embedding_before_the_comma_stays():
    layout = laid(words(50), Insert(Vectors(4), 1.0), words(6), comma(), words(20))
    assert [len(chunk.slots) for chunk in layout.chunks] == [1, 0]


def test_a_full_chunk_breaks_at_its_comma_before_an_embedding_as_before_a_word():
    layout = laid(words(60), comma(), words(14), Insert(Vectors(2), 1.0))
    assert contents(layout) == [61, 16]
    assert layout.chunks[1].slots[0].position == 15
