"""From changed files to cards: what the index knows is kept, what is new is read."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from webui.embeddings import formats
from webui.embeddings.cards import Card
from webui.embeddings.catalogue import Catalogue
from webui.embeddings.embedding import Embedding, EmbeddingCache
from webui.embeddings.index import Entry, Facts, Index, Stamp
from webui.embeddings.listing import Changes, Listing, look
from webui.embeddings.reading import FileRead, name_problem, outdated, read_files
from webui.embeddings.sidecars import find_preview, read_notes, role_of
from webui.plain_text import as_text
from webui.reader_process import Reader

log = logging.getLogger(__name__)

YOUNG_S = 0.5
"""A file changed this recently that cannot be read may still be on its way; it is tried again."""
SAME_DATE_S = 0.05
"""A file read this soon after its change may be changed again without another date."""
SAME_COARSE_DATE_S = 2.0
"""The same where files have dates in whole seconds."""
PUBLISH_EVERY_S = 0.5
"""How often cards appear while many files are being read."""
BATCH = 256
"""Stems whose files are read together, while the cards of so many others are made."""
MOST_KEPT = 64
"""Of more stems than this that come together, the vectors are not kept when they are read."""

Groups = dict[tuple[str, str], set[str]]
"""Changed files by their folder and stem: files of one stem make one card together."""


@dataclass(frozen=True)
class _Asked:
    """Files of some stems that are being read."""

    groups: Groups
    stamps: Mapping[str, Stamp]
    """Of the files to be read, as the listing has them."""
    still: Mapping[str, Stamp | None]
    """As they were just before."""
    guilty: Collection[str]
    """Those of them that are better not read."""
    known: Mapping[str, Entry | None]
    """What was known of the others."""
    writing: Sequence[str]
    """Further files, not to be read yet."""
    read_s: float
    """As in ``Entry``."""
    reads: Iterable[tuple[str, FileRead]]
    """Waits for the readers."""


class Intake:
    """Brings the catalogue up to date with the listing; one thread at a time reads files."""

    def __init__(
        self,
        listing: Listing,
        index: Index,
        cache: EmbeddingCache,
        writing: Callable[[str], bool],
        reader: Reader,
    ) -> None:
        """``cache`` takes what is read; ``writing`` says whether a file is open for writing."""
        self._listing = listing
        self._index = index
        self._cache = cache
        self._writing = writing
        self._reader = reader
        self._work = threading.RLock()
        self._entries, self._pairs = index.load()
        self._unsaved: dict[str, Entry] = {}
        self._gone: set[str] = set()
        self._published = 0.0
        self.catalogue = Catalogue(listing.folders, self._pair_hash)

    def take_in(self, changes: Changes) -> Groups:
        """Note changes in the listing; return what changed by folder and stem."""
        groups: Groups = {}
        with self._work:
            for path, stamp in changes.items():
                if group := self._listing.take_in(path, stamp):
                    groups.setdefault(group, set()).add(path)
        return groups

    def take_known(self, groups: Groups) -> Groups:
        """Publish at once the cards that the index knows; return the groups that must be read."""
        with self._work:
            self._forget_missing()
            known = {group for group in groups if self._is_known(*group)}
            self._take(self._ask({group: set() for group in known}, {}, False, False), False)
            self.catalogue.publish()
            self.save()
        return {group: paths for group, paths in groups.items() if group not in known}

    def learn(self, groups: Groups, patient: bool = False, own: bool = False) -> list[str]:
        """Bring the cards of some stems up to date and publish; return files to try again later.

        ``patient`` leaves the card of a young file that cannot be read as it was, since more of it
        may be coming. ``own`` says that we wrote the files ourselves, each at once.
        """
        again: list[str] = []
        places = list(groups)
        at_once, ahead = (1, 0) if self._index.suspects else (BATCH, 1)
        asked: deque[_Asked] = deque()
        for start in range(0, len(places), at_once):
            part = {place: groups[place] for place in places[start : start + at_once]}
            with self._work:
                before = asked[-1].stamps if asked else {}
                asked.append(self._ask(part, before, own, len(places) <= MOST_KEPT))
                if len(asked) > ahead:
                    again += self._take(asked.popleft(), patient)
                if time.monotonic() - self._published > PUBLISH_EVERY_S:
                    self._publish()
            time.sleep(0)  # lets in whoever waits for the lock
        with self._work:
            for last in asked:
                again += self._take(last, patient)
            self._publish()
            self.save()
        return again

    def save(self) -> None:
        """Write what is new to the index."""
        if self._unsaved or self._gone:
            self._index.save(self._unsaved, self._gone)
            self._unsaved, self._gone = {}, set()
            self._index.done()

    def _publish(self) -> None:
        self.catalogue.publish()
        self._published = time.monotonic()

    def _ask(
        self, groups: Groups, before: Mapping[str, Stamp], own: bool, with_vectors: bool
    ) -> _Asked:
        """Have those files of some stems read that must be; ``before`` are being read already."""
        unread = {
            path: group[os.path.basename(path)]
            for place, changed in groups.items()
            for group in (self._listing.group(*place),)
            for path in _candidates(place[0], group)
            if self._is_unread(path, group, path in changed)
        }
        writing = [path for path in unread if self._writing(path)]
        stamps = {path: stamp for path, stamp in unread.items() if path not in writing}
        still = {path: look(path) for path in stamps}
        guilty = self._index.begin({**before, **stamps}) & stamps.keys() if stamps else set()
        read_s = math.inf if own else time.time()
        paths = [path for path in stamps if path not in guilty]
        reads = zip(paths, read_files(paths, self._reader, with_vectors), strict=True)
        known = {path: self._entries.get(path) for path in paths}
        return _Asked(groups, stamps, still, guilty, known, writing, read_s, reads)

    def _take(self, asked: _Asked, patient: bool) -> list[str]:
        """Bring the cards of some stems up to date; return files to be tried again later."""
        found, again = self._found(asked, patient)
        for (folder, stem), changed in asked.groups.items():
            group = self._listing.group(folder, stem)
            candidates = _candidates(folder, group)
            for path in candidates:
                entry = found[path] if path in found else self._entries.get(path)
                self._show(path, entry and _with_notes(folder, stem, entry, group), group)
            for path in changed.union(os.path.join(folder, name) for name in group):
                if path not in candidates:
                    self._show(path, None, group)
        return again

    def _is_unread(self, path: str, group: Mapping[str, Stamp], changed: bool) -> bool:
        """Say whether a file has to be read, now that it may have changed."""
        entry = self._entries.get(path)
        if entry is None or entry.stamp != group[os.path.basename(path)]:
            return True
        return changed and _may_have_changed(entry)

    def _found(self, asked: _Asked, patient: bool) -> tuple[dict[str, Entry | None], list[str]]:
        """Return what reading has found, and the files that are still being written."""
        found: dict[str, Entry | None] = {}
        again = list(asked.writing)
        for path in asked.guilty:
            stamp = asked.stamps[path]
            problem = "The app ended twice while it was read. Delete or replace it."
            found[path] = Entry(stamp, Facts(problem=problem), stamp.ctime_ns / 1e9)
        for path, read in asked.reads:
            stamp, old = asked.stamps[path], asked.known[path]
            if self._entries.get(path) is not old:
                continue  # somebody has read it since
            if read.facts is None:
                found[path] = None
                continue
            young = time.time() - stamp.mtime_ns / 1e9 < YOUNG_S
            if look(path) != asked.still[path] or (read.facts.problem and young and patient):
                again.append(path)
                continue
            for name, embedding in read.named.items():
                self._cache.put(Path(path), name, embedding)
            added = old.added if old else stamp.ctime_ns / 1e9
            found[path] = Entry(stamp, read.facts, added, read_s=asked.read_s)
            if read.facts.problem and young:
                again.append(path)
        return found, again

    def _show(self, path: str, entry: Entry | None, group: Mapping[str, Stamp]) -> None:
        """Put a file's card in place, or take it away."""
        if entry is None:
            if self._entries.pop(path, None):
                self._gone.add(path)
                self._unsaved.pop(path, None)
        elif self._entries.get(path) is not entry:
            self._entries[path] = self._unsaved[path] = entry
            self._gone.discard(path)
        shown = entry is not None and not entry.facts.plain_picture
        self.catalogue.put(path, self._cards(path, entry, group) if entry and shown else ())

    def _cards(self, path: str, entry: Entry, group: Mapping[str, Stamp]) -> list[Card]:
        """Return a file's own card, and one for each embedding that has a name of its own in it."""
        facts = entry.facts
        folder, name = os.path.split(path)
        stem = os.path.splitext(name)[0]
        root, inside = self._listing.root_of(folder) or (Path(folder), "")
        preview = find_preview(stem, group)
        card = Card(
            name=as_text(stem),
            path=Path(path),
            root=root,
            folder=as_text(inside),
            widths=facts.widths,
            vectors=facts.vectors,
            step=facts.step,
            trained_on=facts.trained_on,
            trained_on_hash=facts.trained_on_hash,
            inner_name=facts.inner_name,
            short_hash=facts.short_hash,
            content_hash=facts.content_hash,
            size_bytes=entry.stamp.size,
            modified=entry.stamp.mtime_ns / 1e9,
            added=entry.added,
            format=facts.format,
            kind=facts.kind,
            problem=name_problem(name) or facts.problem or outdated(facts.trained_on_hash),
            preview=Path(folder, preview) if preview else None,
            preview_stamp=group[preview] if preview else None,
            notes=entry.notes,
            stamp=entry.stamp,
        )
        return [card, *(replace(card, inside=True, kind="", **vars(one)) for one in facts.inside)]

    def _pair_hash(self, first: Card, second: Card) -> str:
        """Return the content hash of two files together, "" if they cannot be read as one."""
        key = first.content_hash, second.content_hash
        if key not in self._pairs:
            try:
                both = self._embedding_of(first).beside(self._embedding_of(second))
            except (formats.Refused, OSError):
                return ""
            self._cache.put(first.path, first.name, both)
            self._pairs[key] = both.content_hash
            self._index.save_pair(*key, both.content_hash)
        return self._pairs[key]

    def _embedding_of(self, card: Card) -> Embedding:
        kept = self._cache.get(card.path, card.name, card.content_hash)
        return kept or formats.read(card.path, self._reader)

    def _is_known(self, folder: str, stem: str) -> bool:
        """Say whether the index has all files of one stem as they are."""
        group = self._listing.group(folder, stem)
        return not any(self._is_unread(path, group, False) for path in _candidates(folder, group))

    def _forget_missing(self) -> None:
        """Drop files that are no longer there; the index keeps those of folders out of reach."""
        for path in list(self._entries):
            folder, name = os.path.split(path)
            if name in self._listing.group(folder, os.path.splitext(name)[0]):
                continue
            del self._entries[path]
            home = self._listing.root_of(folder)
            if home is not None and home[0].exists():
                self._gone.add(path)


def _may_have_changed(entry: Entry) -> bool:
    """Say whether a file may have another content than was read, although its date is the same."""
    coarse = entry.stamp.mtime_ns % 10**9 == 0
    least_s = SAME_COARSE_DATE_S if coarse else SAME_DATE_S
    return entry.read_s - max(entry.stamp.mtime_ns, entry.stamp.ctime_ns) / 1e9 < least_s


def _with_notes(folder: str, stem: str, entry: Entry, group: Mapping[str, Stamp]) -> Entry:
    """Return the entry with the notes as they are now, read only if they changed."""
    present = sorted(item for item in group.items() if role(item[0]) == "notes")
    stamp = ascii(present) if present else ""
    if stamp == entry.notes_stamp:
        return entry
    notes = read_notes(Path(folder), stem, [name for name, _ in present])
    return replace(entry, notes=notes, notes_stamp=stamp)


def _candidates(folder: str, group: Mapping[str, Stamp]) -> list[str]:
    """Return the files of one stem that may hold vectors; pictures only where no other does."""
    names = [name for name in group if role(name) == "vectors"] or [
        name
        for name in group
        if role(name) == "picture" and name.lower().endswith(formats.PICTURE_SUFFIXES)
    ]
    return [os.path.join(folder, name) for name in names]


def role(file_name: str) -> str | None:
    """Return the part a file plays beside its stem, or None for files of no concern."""
    found = role_of(file_name)
    return found[1] if found else None
