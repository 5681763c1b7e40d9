"""Text from files is shown as text, on the page and in a terminal."""

from __future__ import annotations

import logging

from webui.plain_text import PlainFormatter, as_text, shown


def test_controls_and_half_characters_are_left_out():
    assert shown("a\x1b[31mb\x00\u202ec\ud800\nd\te") == "a[31mbc?\nd\te"
    assert shown("Ärger 猫 👩\u200d🚀") == "Ärger 猫 👩\u200d🚀"


def test_a_name_that_is_no_utf8_can_be_encoded():
    assert as_text("a\udcff") == "a?"


def test_a_terminal_gets_no_escape_sequences():
    record = logging.LogRecord("a", 20, "", 0, "Skipped %s\nnext", ("\x1b]0;owned\x07.pt",), None)
    assert PlainFormatter("%(message)s").format(record) == "Skipped \\x1b]0;owned\\x07.pt\nnext"
