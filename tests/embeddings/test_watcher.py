"""What the watcher makes of a file system without waiting for a library."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embeddings.embedding_parts import put, until
from webui.embeddings import watcher
from webui.embeddings.events import gives_no_events
from webui.embeddings.listing import Changes, Listing
from webui.embeddings.watcher import Watcher


@pytest.fixture
def seen(folder: Path):
    """A running watcher, with the batches of changes that it handed over."""
    batches: list[Changes] = []
    listing = Listing([folder])

    def take(changes: Changes) -> list[str]:
        batches.append(changes)
        for path, stamp in changes.items():
            listing.take_in(path, stamp)
        return []

    running = Watcher(listing, take)
    running.watch()
    running.run()
    yield batches
    running.stop()


def test_each_file_is_handed_over_once_and_reading_it_is_no_change(folder: Path, seen):
    path = put(folder / "cat.pt")
    assert until(lambda: seen)
    path.read_bytes()
    assert not until(lambda: len(seen) > 1, 0.6)
    assert list(seen[0]) == [str(path)]


def test_a_file_that_goes_is_handed_over_without_a_stamp(folder: Path, seen):
    path = put(folder / "cat.pt")
    assert until(lambda: seen)
    path.unlink()
    assert until(lambda: seen[-1] == {str(path): None})


def test_a_folder_made_anew_is_watched_anew_even_if_it_looks_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    same = lambda path: (1, 1) if Path(path).exists() else None  # noqa: E731
    monkeypatch.setattr(watcher, "_identity", same)
    handed: list[str] = []
    running = Watcher(Listing([folder]), lambda changes: handed.extend(changes) or [])
    running.watch()
    running.run()
    folder.rmdir()
    folder.mkdir()
    assert not until(lambda: handed, 0.5)
    path = put(folder / "cat.pt")
    assert until(lambda: handed == [str(path)])
    running.stop()


def test_what_cannot_be_watched_is_looked_at_instead(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    from watchdog.observers import Observer

    def refuse(*_: object, **__: object) -> None:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr(Observer, "schedule", refuse)
    monkeypatch.setattr(watcher, "POLL_S", 0.2)
    handed: list[Changes] = []
    running = Watcher(Listing([folder]), lambda changes: handed.append(changes) or [])
    running.watch()
    running.run()
    put(folder / "cat.pt")
    assert until(lambda: handed)
    running.stop()
    assert "cannot be watched" in caplog.text


def test_where_events_get_lost_the_folder_is_looked_at_from_then_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    from watchdog.observers import Observer

    monkeypatch.setattr(Observer, "schedule", lambda *_, **__: object())
    monkeypatch.setattr(Observer, "unschedule", lambda *_: None)
    for name, seconds in (("SWEEP_S", 0.5), ("MISSED_S", 0.3), ("POLL_S", 0.1)):
        monkeypatch.setattr(watcher, name, seconds)
    handed: list[str] = []
    running = Watcher(Listing([folder]), lambda changes: handed.extend(changes) or [])
    running.watch()
    running.run()
    put(folder / "cat.pt")
    assert until(lambda: handed and "get lost" in caplog.text)
    running.stop()


def test_ordinary_folders_give_events(tmp_path: Path):
    assert not gives_no_events(str(tmp_path))
