"""What was learned of each file, kept in SQLite so that a start need not read them all again."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from webui.embeddings.sidecars import Notes, Published

log = logging.getLogger(__name__)

SCHEMA = 3
"""Grows when the readers learn something new; older indexes are then made again."""


NO_NOTES = Notes()
_as_json = json.JSONEncoder(default=vars).encode


class Stamp(NamedTuple):
    """What tells one state of a file from another without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Also changes when an older file is put back with its old date."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp in a file's status."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True)
class Inside:
    """One of several embeddings in a file, called by the name that it has there."""

    name: str
    widths: Mapping[str, int]
    vectors: int
    content_hash: str


@dataclass(frozen=True)
class Facts:
    """What reading one file gave."""

    widths: Mapping[str, int] = field(default_factory=dict)
    vectors: int = 0
    step: int | None = None
    trained_on: str | None = None
    trained_on_hash: str | None = None
    inner_name: str | None = None
    short_hash: str = ""
    content_hash: str = ""
    format: str = ""
    problem: str | None = None
    plain_picture: bool = False
    """A picture without an embedding inside, which gets no card."""
    kind: str = ""
    """As in ``Embedding``."""
    inside: tuple[Inside, ...] = ()
    """What else its file calls by names of their own; the rest here is of the first in it."""


@dataclass(frozen=True)
class Entry:
    """One file in the index."""

    stamp: Stamp
    facts: Facts
    added: float
    """When the file came to the folder, seconds since 1970."""
    notes: Notes = NO_NOTES
    notes_stamp: str = ""
    """Names and stamps of the sidecars that ``notes`` were read from."""
    read_s: float = 0.0
    """When the file was read, seconds since 1970; not kept in the index, 0 from there."""


class Suspect(NamedTuple):
    """A file that was being read, maybe with others, when the app ended without a word."""

    stamp: Stamp | None
    times: int
    """How often that has happened with it in a row."""


NOBODY = Suspect(None, 0)


class Index:
    """The entries on disk; a damaged or older index file is thrown away and made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._note = path.with_name(path.name + "-reading")
        self.suspects = _suspects(self._note)
        """By path; they are read one at a time, so that the one that does it is found."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open(path)
        except (sqlite3.OperationalError, OSError) as fault:
            log.warning("The index %s is out of reach (%s); nothing will be kept.", path, fault)
            self._open(":memory:")
        except sqlite3.DatabaseError as fault:
            log.warning("The index %s was damaged (%s) and is made again.", path, fault)
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            self._open(path)

    def begin(self, files: Mapping[str, Stamp]) -> set[str]:
        """Note that files are about to be read; return those that ended the app twice before."""
        earlier = {path: self.suspects.get(path, NOBODY) for path in files}
        times = {
            path: earlier[path].times if earlier[path].stamp == stamp else 0
            for path, stamp in files.items()
        }
        guilty = {path for path in files if times[path] >= 2}
        note = [(path, files[path], times[path] + 1) for path in files if path not in guilty]
        try:
            self._note.write_text(json.dumps(note))
        except OSError as fault:
            log.warning("The note %s could not be written: %s", self._note, fault)
        return guilty

    def done(self) -> None:
        """Note that nothing is being read."""
        self._note.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Entry], dict[tuple[str, str], str]]:
        """Return all entries by path, and what two content hashes make together."""
        with self._lock:
            rows = self._database.execute(
                "SELECT path, size, mtime, ctime, added, facts, notes, notes_stamp FROM files"
            ).fetchall()
            pairs = self._database.execute("SELECT first, second, merged FROM pairs").fetchall()
        entries = {}
        for path, size, mtime, ctime, added, facts, notes, notes_stamp in rows:
            try:
                entries[os.fsdecode(path)] = Entry(
                    Stamp(size, mtime, ctime),
                    _facts(facts),
                    added,
                    _notes(notes) if notes else NO_NOTES,
                    notes_stamp,
                )
            except (ValueError, TypeError, KeyError):
                log.warning("A damaged row of the index was skipped.")
        return entries, {(first, second): merged for first, second, merged in pairs}

    def save(self, entries: Mapping[str, Entry], gone: Iterable[str] = ()) -> None:
        """Write entries and forget files that are gone."""
        rows = [
            (
                os.fsencode(path),
                *entry.stamp,
                entry.added,
                _as_json(entry.facts),
                "" if entry.notes == NO_NOTES else _as_json(entry.notes),
                entry.notes_stamp,
            )
            for path, entry in entries.items()
        ]
        self._execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._execute("DELETE FROM files WHERE path = ?", [(os.fsencode(path),) for path in gone])

    def save_pair(self, first: str, second: str, merged: str) -> None:
        """Write the content hash that two files with these content hashes have together."""
        self._execute("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", [(first, second, merged)])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _execute(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for all rows; the index only saves time, so a fault is only logged."""
        if not rows:
            return
        try:
            with self._lock, self._database:
                self._database.executemany(statement, rows)
        except sqlite3.Error as fault:
            log.warning("The index %s could not be written: %s", self._path, fault)

    def _open(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=5)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = OFF")
            [(schema,)] = self._database.execute("PRAGMA user_version").fetchall()
            with self._database:
                if schema != SCHEMA:
                    self._database.execute("DROP TABLE IF EXISTS files")
                    self._database.execute("DROP TABLE IF EXISTS pairs")
                    self._database.execute(f"PRAGMA user_version = {SCHEMA}")
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, "
                    "mtime INTEGER, ctime INTEGER, added REAL, facts TEXT, notes TEXT, "
                    "notes_stamp TEXT) WITHOUT ROWID"
                )
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS pairs (first TEXT, second TEXT, merged TEXT, "
                    "PRIMARY KEY (first, second))"
                )
        except sqlite3.DatabaseError:
            self._database.close()
            raise


def _suspects(note: Path) -> dict[str, Suspect]:
    """Return the files in a note that was left behind, if there is one."""
    try:
        noted = json.loads(note.read_text())
        return {str(path): Suspect(Stamp(*stamp), int(times)) for path, stamp, times in noted}
    except (OSError, ValueError, TypeError):
        return {}


def _facts(text: str) -> Facts:
    """Return facts as they were saved."""
    written = json.loads(text)
    return Facts(**{**written, "inside": tuple(Inside(**one) for one in written["inside"])})


def _notes(text: str) -> Notes:
    """Return notes as they were saved."""
    written = json.loads(text)
    published = written["published"]
    said = Published(**{**published, "words": tuple(published["words"])})
    return Notes(**{**written, "tags": tuple(written["tags"]), "published": said})
