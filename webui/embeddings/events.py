"""The file system's own word of changes in folders, by watchdog, where it can be had."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchdog import events
from watchdog.observers import Observer

log = logging.getLogger(__name__)

Notify = Callable[[str, list[str], bool], None]
"""Called with what happened (created, modified, closed, moved, deleted, …), the paths it happened
to, and whether they are folders."""

_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.", "vboxsf", "virtiofs", "prl_fs", "afs", "ceph")


class FolderEvents:
    """Watches folders with all below them; calls ``notify`` from a thread of watchdog."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._observer: Any = None
        self._watches: dict[str, tuple[_Handler, Any]] = {}

    def watch(self, folder: str) -> bool:
        """Begin to watch a folder; say whether its events can be had."""
        if gives_no_events(folder):
            log.info("%s gives no change events; it is looked at every second.", folder)
            return False
        # Opening and reading are left out, so that our own reading is no event.
        kinds = ("Created", "Modified", "Moved", "Deleted", "Closed", "Attrib")
        files = [getattr(events, f"File{kind}Event", None) for kind in kinds]
        folders = [events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent]
        wanted = [kind for kind in (*files, *folders) if kind is not None]
        real = os.path.realpath(folder)  # a link itself would not be followed
        handler = _Handler(self._notify, real, folder)
        try:
            observer = self._observer or self._start()
            watch = observer.schedule(handler, real, recursive=True, event_filter=wanted)
            self._watches[folder] = handler, watch
        except OSError as fault:
            log.warning("%s cannot be watched (%s); it is looked at every second.", folder, fault)
            return False
        return True

    def unwatch(self, folder: str) -> None:
        """Stop watching a folder, if it is watched."""
        handler, watch = self._watches.pop(folder, (None, None))
        if watch is None or self._observer is None:
            return
        try:
            if any(other == watch for _, other in self._watches.values()):
                self._observer.remove_handler_for_watch(handler, watch)
            else:
                self._observer.unschedule(watch)
        except (KeyError, OSError, RuntimeError) as fault:
            log.debug("Unwatching %s: %s", folder, fault)

    def is_running(self) -> bool:
        """Say whether the thread is alive, or not needed."""
        return self._observer is None or self._observer.is_alive()

    def stop(self) -> None:
        """Stop watching everything and wait for the thread."""
        observer, self._observer, self._watches = self._observer, None, {}
        if observer is not None:
            observer.stop()
            observer.join(timeout=10)

    def _start(self) -> Any:
        # watchdog 7 warns each time that it meets a new folder by two ways at once: harmless.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        self._observer = Observer()
        self._observer.daemon = True
        self._observer.start()
        return self._observer


class _Handler:
    """What watchdog calls for the events of one folder."""

    def __init__(self, notify: Notify, real: str, folder: str) -> None:
        """``real`` is where the folder really lies; paths are told as if they began ``folder``."""
        self._notify = notify
        self._real = real
        self._folder = folder

    def dispatch(self, event: Any) -> None:
        """Pass one event on; an error here would end watchdog's thread."""
        try:
            paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
            told = [self._folder + path.removeprefix(self._real) for path in paths]
            self._notify(event.event_type, told, event.is_directory)
        except Exception:
            log.exception("A folder event could not be taken in.")


def gives_no_events(folder: str) -> bool:
    """Say whether a folder lies on a file system that other machines change unseen."""
    best, kind, real = "", "", Path(folder).resolve()
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _, point, found, *_ = line.split(" ")
                point = point.replace("\\040", " ")
                if real.is_relative_to(point) and len(point) >= len(best):
                    best, kind = point, found
    except (OSError, ValueError):
        return False
    return kind.startswith(_NETWORK)
