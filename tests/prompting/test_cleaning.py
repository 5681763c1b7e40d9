"""What is left out of a prompt before anything else."""

from __future__ import annotations

import pytest

from webui.prompting.cleaning import clean


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("# a comment\na cat", "\na cat"),
        ("a cat # sitting\n on a mat", "a cat \n on a mat"),
        ("  # only a comment", "  "),
        ("c# and f#, a#b", "c# and f#, a#b"),
        ("#️⃣", "#️⃣"),
        ("e\u0301", "é"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_comments_are_left_out_and_text_is_put_in_normal_form(written: str, read: str):
    assert clean(written) == read
