"""The embeddings in use: always what the folders hold, each name with its reason or its vectors.

It is our own because diffusers adds words to the tokenizer, which cannot follow a changing folder.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.embeddings import file_actions, formats
from webui.embeddings.cards import Card, LibrarySnapshot
from webui.embeddings.catalogue import relative
from webui.embeddings.embedding import Embedding, EmbeddingCache
from webui.embeddings.index import Index
from webui.embeddings.intake import Intake, role
from webui.embeddings.listing import Changes, Listing, look
from webui.embeddings.reading import by_name
from webui.embeddings.sidecars import (
    Notes,
    read_measured,
    save_measured,
    save_notes,
    save_published,
)
from webui.embeddings.watcher import Watcher
from webui.errors import AppError, BadField
from webui.files import replacing
from webui.images import open_picture
from webui.plain_text import as_text
from webui.reader_process import HERE, Reader

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Card", "EmbeddingLibrary", "LibrarySnapshot", "Notes"]

log = logging.getLogger(__name__)

TRASH_KEPT_S = 30 * 86_400
"""Deleted files can be brought back for this long."""
REFRESH_WAITS_S = 2.0
"""A look at the folders waits this long for files that seem to be still on their way."""


class EmbeddingLibrary:
    """Owns what is known of the embedding files; safe to use from any thread.

    Asking for names, cards and vectors never waits while files are being read for their cards.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        index_file: Path,
        reader: Reader = HERE,
    ) -> None:
        """``folders`` hold the files, the first receives new ones; ``index_file`` is a cache."""
        self._reader = reader
        self.folders = tuple(dict.fromkeys(Path(os.path.abspath(folder)) for folder in folders))
        if not self.folders:
            raise AppError("At least one embeddings folder is needed.")
        self._listing = Listing(self.folders)
        self._index = Index(Path(index_file))
        self._watcher = Watcher(self._listing, self._apply)
        self._cache = EmbeddingCache()
        self._intake = Intake(
            self._listing, self._index, self._cache, self._watcher.writing, reader
        )
        self._catalogue = self._intake.catalogue
        self._changing = threading.RLock()

    def start(self, wait: bool = True) -> None:
        """Take in what the folders hold, then watch them; to be called once.

        Files that the index knows are usable at once; the others are read before this returns,
        or with ``wait=False`` one after another in the background.
        """
        self.folders[0].mkdir(parents=True, exist_ok=True)
        file_actions.finish_broken_off(self.folders)
        file_actions.empty_trash(self.folders, TRASH_KEPT_S)
        self._watcher.watch()
        unknown = self._intake.take_known(self._intake.take_in(self._differences()))
        if wait:
            self._watcher.expect(self._intake.learn(unknown))
            self._watcher.run()
        else:
            self._watcher.run()
            paths = {path for changed in unknown.values() for path in changed}
            self._watcher.expect(paths, quiet_s=0.0)

    def stop(self) -> None:
        """Stop watching and close the index; the library is not used after this."""
        self._watcher.stop()
        self._index.close()

    @property
    def version(self) -> int:
        """A number that grows with each real change."""
        return self._catalogue.version

    def snapshot(self) -> LibrarySnapshot:
        """Return all cards, sorted by name."""
        return self._catalogue.snapshot()

    def names(self) -> Collection[str]:
        """Return the usable names as they are written."""
        return self._catalogue.names()

    def card(self, name: str) -> Card | None:
        """Return the card of a name in any case: the usable one if any, else one with a problem."""
        return next(iter(self._catalogue.cards(name)), None)

    def card_at(self, key: str) -> Card | None:
        """Return the card of this ``Card.key``; None for any other text."""
        return self.snapshot().by_key.get(key)

    def get(self, name: str) -> Embedding | None:
        """Return the embedding of a name in any case, or None if it is unknown or unusable.

        The vectors are read at first use and kept until the file changes.
        """
        card = self.card(name)
        if card is None or not card.usable:
            return None
        try:
            return self._embedding_of(card)
        except formats.Refused as fault:
            log.warning("“%s” could not be read although it was fine before: %s", name, fault)
            self._watcher.expect([str(card.path)])
            return None

    def _embedding_of(self, card: Card) -> Embedding:
        """Return a card's embedding, from its file if it is not kept. Raises Refused."""
        if kept := self._cache.get(card.path, card.name, card.content_hash):
            return kept
        own_name = as_text(card.path.stem)
        embedding = by_name(own_name, self._read(card.path)).get(card.name)
        if embedding is None:
            raise formats.Refused(card.path, f"“{card.name}” is no longer in it.")
        if card.second_path is not None:
            embedding = embedding.beside(self._read(card.second_path)[0])
        if embedding.content_hash != card.content_hash:
            self._watcher.expect([str(card.path)])
        self._cache.put(card.path, card.name, embedding)
        return embedding

    def _read(self, path: Path) -> Sequence[Embedding]:
        """Return the embeddings of a file. Raises Refused."""
        try:
            return formats.inspect(path, False, self._reader).embeddings
        except OSError as fault:
            reason = f"It cannot be opened: {fault.strerror or fault}."
            raise formats.Refused(path, reason) from fault

    def refresh(self) -> None:
        """Look at all folders now and take in what changed; all of it is usable on return.

        Only a file that is still being written may be left out; it is waited for a moment.
        """
        groups = self._intake.take_in(self._differences())
        again = self._intake.learn(groups)
        self._watcher.expect(again)
        self._watcher.wait_for(again, REFRESH_WAITS_S)

    def metadata(self, name: str, path: Path | None = None) -> Mapping[str, str]:
        """Return the free text inside a file, e.g. the recipe; hostile until shown as text.

        ``path`` as in ``delete``. Raises AppError if the file is unknown or unreadable.
        """
        card = self._existing(name, path)
        return formats.inspect(card.path, False, self._reader).metadata

    def add_file(self, source: Path, name: str) -> Card:
        """Inspect a file from outside and copy it in under a name.

        Raises AppError if the name is taken or not allowed, or the file cannot be used.
        """
        with self._changing:
            path = file_actions.add(source, self._free_name(name), self.folders[0], self._reader)
            self._refresh_paths([path])
        return self._existing(name)

    def install(
        self,
        embedding: Embedding,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write an embedding to ``<first folder>/<name>.safetensors``; usable on return.

        Raises AppError if the name is taken (unless ``overwrite``) or not allowed.
        """
        with self._changing:
            name = embedding.name if overwrite else self._free_name(embedding.name)
            path = file_actions.path_for(self.folders[0], name, ".safetensors")
            for card in self._catalogue.cards(name):
                alike = card.path.parent == path.parent and card.path.suffix == path.suffix
                if alike and not card.inside:
                    path = card.path  # the same name in other capitals
            with file_actions.os_errors_as_app_errors(path):
                formats.write(embedding, path, "safetensors", metadata or {})
            self._refresh_paths([path])
        return path

    def delete(self, name: str, path: Path | None = None) -> str:
        """Move a file and its sidecars to the trash folder; return the token to undo it with.

        ``path`` chooses among several files of one name; else it is the one that has the name.
        """
        with self._changing:
            card = self._whole_file(name, path)
            paths = self.files(card)
            token = file_actions.throw_away(card.root, paths)
            self._refresh_paths(paths)
        return token

    def undo_delete(self, token: str) -> None:
        """Put back what ``delete`` moved away. Raises AppError if the place is taken meanwhile."""
        with self._changing:
            self._refresh_paths(file_actions.put_back(self.folders, token))

    def save_notes(self, name: str, notes: Notes, path: Path | None = None) -> None:
        """Write what people say about an embedding to its sidecar, as A1111 does.

        ``path`` as in ``delete``.
        """
        with self._changing:
            card = self._existing(name, path)
            file_actions.check_inside(card.root, card.path)
            with file_actions.os_errors_as_app_errors(card.path):
                path = save_notes(card.path.parent, card.path.stem, notes)
            self._refresh_paths([path])

    def save_published(self, card: Card, answer: Mapping[str, Any]) -> None:
        """Write what CivitAI says of a card's file to its sidecar."""
        with self._changing:
            file_actions.check_inside(card.root, card.path)
            with file_actions.os_errors_as_app_errors(card.path):
                path = save_published(card.path.parent, card.path.stem, answer)
            self._refresh_paths([path])

    def save_measured(
        self, name: str, figures: Mapping[str, Any], sheet: Image.Image, path: Path | None = None
    ) -> None:
        """Write what was measured of an embedding to its sidecars; ``path`` as in ``delete``."""
        with self._changing:
            card = self._existing(name, path)
            file_actions.check_inside(card.root, card.path)
            buffer = io.BytesIO()
            sheet.convert("RGB").save(buffer, "JPEG", quality=90)
            with file_actions.os_errors_as_app_errors(card.path):
                paths = save_measured(card.path.parent, card.path.stem, figures, buffer.getvalue())
            self._refresh_paths(paths)

    def measured(self, card: Card) -> tuple[Mapping[str, Any], Path | None]:
        """Return what was measured last of a card, hostile, and the contact sheet of that.

        Nothing if its vectors have changed since, or another embedding of its file was measured.
        """
        figures, sheet = read_measured(card.path.parent, card.path.stem)
        same = figures.get("name") == card.name
        fresh = same and figures.get("content hash") == card.content_hash
        return (figures, sheet) if fresh else ({}, None)

    def rename(self, name: str, new_name: str, path: Path | None = None) -> Card:
        """Rename a file and its sidecars; ``path`` as in ``delete``.

        Raises AppError if the new name is taken or not allowed.
        """
        with self._changing:
            card = self._whole_file(name, path)
            if new_name.casefold() != name.casefold():
                self._free_name(new_name)
            paths = self.files(card)
            moved = file_actions.rename(card.root, paths, card.path.stem, new_name)
            self._refresh_paths([*paths, *moved])
        return self._existing(new_name)

    def move(self, name: str, folder: str, path: Path | None = None) -> Card:
        """Move a file and its sidecars to a sub-folder, made if need be; "" is the top.

        ``path`` as in ``delete``. Raises AppError if its place is taken or it is not allowed.
        """
        with self._changing:
            card = self._whole_file(name, path)
            paths = self.files(card)
            moved = file_actions.move(card.root, paths, folder)
            self._refresh_paths([*paths, *moved])
        return self._existing(card.name, moved[paths.index(card.path)])

    def set_preview(self, name: str, image: Image.Image, path: Path | None = None) -> None:
        """Make a picture the one that a card shows, in the sidecar that A1111 uses.

        ``path`` as in ``delete``. Raises AppError where the embedding is a picture itself.
        """
        with self._changing:
            card = self._existing(name, path)
            file_actions.check_inside(card.root, card.path)
            if card.path.suffix.lower() in formats.PICTURE_SUFFIXES:
                raise AppError("This embedding is an image itself and is shown as that.")
            target = card.path.with_name(f"{card.path.stem}.preview.png")
            if card.preview and card.preview.suffix.lower() == ".png":
                target = card.preview
            with file_actions.os_errors_as_app_errors(target), replacing(target) as temporary:
                image.convert("RGB").save(temporary, format="PNG")
            self._refresh_paths([target])

    def export(self, name: str, kind: formats.Kind, path: Path | None = None) -> bytes:
        """Return the file of an embedding in a format; ``path`` as in ``delete``.

        Raises AppError if it cannot be read.
        """
        card = self._existing(name, path)
        if card.problem:
            raise AppError(card.problem)
        image = open_picture(card.preview) if kind == "picture" and card.preview else None
        metadata = formats.inspect(card.path, False, self._reader).metadata
        return formats.encode(self._embedding_of(card), kind, metadata, image)

    def files(self, card: Card) -> list[Path]:
        """Return a card's file, its second file, and the sidecars no other file needs."""
        paths: list[Path] = []
        for path in (card.path, card.second_path):
            if path is None:
                continue
            names = list(self._listing.group(str(path.parent), path.stem))
            others = [n for n in names if role(n) == "vectors" and n != path.name]
            paths += [path] if others else [path.parent / name for name in names]
        return [path for path in paths if os.path.lexists(path)]

    def _apply(self, changes: Changes) -> list[str]:
        """Take in changes the watcher saw; return files to be given again later."""
        return self._intake.learn(self._intake.take_in(changes), patient=True)

    def _refresh_paths(self, paths: Iterable[Path]) -> None:
        """Take in files that we changed ourselves."""
        groups = self._intake.take_in({str(path): look(path) for path in paths})
        self._watcher.expect(self._intake.learn(groups, own=True))

    def _differences(self) -> Changes:
        changes: Changes = {}
        for folder in self.folders:
            changes |= self._listing.differences(str(folder))
        return changes

    def _existing(self, name: str, path: Path | None = None) -> Card:
        for card in self._catalogue.cards(name):
            if path is None or card.path == path:
                return card
        raise AppError(f"There is no embedding called “{name}”. It may have been removed.")

    def _whole_file(self, name: str, path: Path | None) -> Card:
        """Return the card of a file; AppError for one of several embeddings in a file."""
        card = self._existing(name, path)
        if card.inside:
            raise AppError(
                f"“{card.name}” is one of several embeddings in {relative(card)} and cannot be "
                f"moved, renamed or deleted by itself. Do it with “{as_text(card.path.stem)}”."
            )
        return card

    def _free_name(self, name: str) -> str:
        file_actions.check_name(name)
        if taken := self.card(name):
            raise BadField(
                "name",
                f"There is already an embedding called “{taken.name}” ({relative(taken)}). "
                "Choose another name.",
            )
        return name
