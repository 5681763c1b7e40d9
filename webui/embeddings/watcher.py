"""Notices changes in the embedding folders and hands each file over once it holds still.

It is our own because watchdog says that something happened, not that a file is whole.
watchdog tells which files are worth a look; what happened to them is then read from the disk, so
that lost, doubled or wrong events do no harm. A look at everything follows now and then, at once
where a folder gives no events, has been made anew, or is on a network.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from webui.embeddings.events import FolderEvents
from webui.embeddings.index import Stamp
from webui.embeddings.listing import Changes, Listing, look

log = logging.getLogger(__name__)

QUIET_S = 0.06
"""How long a file that has been closed or moved must hold still."""
QUIET_UNSURE_S = 0.2
"""The same for a file of which nobody said whether it is closed."""
QUIET_WRITING_S = 1.5
"""The same for a file that was written to and not closed, in case the closing is never told."""
QUIET_RETRY_S = 0.3
"""Time until a file that could not be read while it was young is tried again."""
RETRY_AFTER_FAULT_S = 1.0
"""Time until files are handed over again after an error that nobody foresaw."""
CHECK_S = 0.2
"""Time between looks at whether the folders themselves are still the same."""
POLL_S = 1.0
"""Time between looks at everything in folders that give no events."""
POLL_SHARE = 0.05
"""Most of the time that looking at everything may take, where folders are very full."""
SWEEP_S = 30.0
"""Time between looks at everything in the other folders."""
MISSED_S = 3.0
"""A change older than this that no event told of means that events are getting lost."""
BATCH = 2_000
"""Files handed over together at most."""


@dataclass
class _Waiting:
    """A file that is not yet known to hold still."""

    stamp: Stamp | None
    since: float
    """When it last changed, ``time.monotonic()``."""
    quiet_s: float = QUIET_UNSURE_S
    writing: bool = False


class Watcher:
    """One thread that turns events and looks into calls of ``apply`` with settled changes."""

    def __init__(self, listing: Listing, apply: Callable[[Changes], Iterable[str]]) -> None:
        """``apply`` takes changes in and returns the files that it wants to be given again."""
        self._listing = listing
        self._apply = apply
        self._waiting: dict[str, _Waiting] = {}
        self._folders: set[str] = set()
        self._wake = threading.Condition()
        self._stopped = False
        self._events = FolderEvents(self._take_event)
        self._applying = False
        self._rounds = 0
        """How often changes have been handed over and dealt with."""
        self._watched: dict[str, tuple[bool, tuple[int, int]]] = {}
        """Per folder whether it gives events, and what it was when the watching began."""
        self._looked: dict[str, float] = {}
        self._look_took_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="embedding-watcher", daemon=True)

    def watch(self) -> None:
        """Begin to collect events; nothing is handed over before ``run``."""
        self._check_folders()

    def run(self) -> None:
        """Begin to hand changes over."""
        self._thread.start()

    def stop(self) -> None:
        """Stop both threads and wait for them."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._events.stop()

    def expect(self, paths: Iterable[str], quiet_s: float = QUIET_UNSURE_S) -> None:
        """Hand these files over once they have held still for ``quiet_s``."""
        now = time.monotonic()
        with self._wake:
            for path in paths:
                self._waiting[path] = _Waiting(look(path), now, quiet_s)
            self._wake.notify_all()

    def wait_for(self, paths: Collection[str], most_s: float) -> None:
        """Wait until what is being handed over now is dealt with, and then these files too.

        Returns after ``most_s`` at the latest, and at once if nothing is handed over any more.
        """
        with self._wake:
            round_now = self._rounds if self._applying else self._rounds - 1

            def is_done() -> bool:
                if self._stopped or not self._thread.is_alive():
                    return True
                if not paths:
                    return self._rounds > round_now
                return not self._applying and self._waiting.keys().isdisjoint(paths)

            self._wake.wait_for(is_done, most_s)

    def writing(self, path: str) -> bool:
        """Say whether a file is known to be open for writing."""
        with self._wake:
            waiting = self._waiting.get(path)
            return waiting is not None and waiting.writing

    def _take_event(self, kind: str, paths: list[str], are_folders: bool) -> None:
        """Take note of one event."""
        with self._wake:
            if not are_folders:
                for path in paths:
                    self._note(path, kind)
            elif kind in ("created", "moved", "deleted"):
                self._folders.update(paths)
                self._wake.notify_all()

    def _note(self, path: str, kind: str) -> None:
        """Note that something of a kind happened to a file; the caller holds the lock."""
        if not self._listing.concerns(path):
            return
        waiting = self._waiting.setdefault(path, _Waiting(None, 0.0))
        waiting.since = time.monotonic()
        waiting.stamp = look(path)
        if kind == "modified":
            waiting.writing = True
        elif kind in ("closed", "moved", "deleted"):
            waiting.writing = False
            waiting.quiet_s = QUIET_S
        self._wake.notify_all()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._round()
            except Exception:
                log.exception("The folder watcher met an unexpected error and goes on.")
                time.sleep(0.2)

    def _round(self) -> None:
        """Hand over what holds still, look at folders whose turn it is, then wait."""
        with self._wake:
            folders, self._folders = self._folders, set()
        for folder in folders:
            # A folder made anew may look the same as the one that was removed.
            self._unwatch(folder)
            self._look_at(folder)
        self._check_folders()
        settled = self._settled()
        if settled:
            try:
                self.expect(self._apply(settled), QUIET_RETRY_S)
            except Exception:
                self.expect(settled, RETRY_AFTER_FAULT_S)
                raise
            finally:
                with self._wake:
                    self._applying = False
                    self._rounds += 1
                    self._wake.notify_all()
        with self._wake:
            if not self._stopped and not self._folders:
                self._wake.wait(self._next_in())

    def _settled(self) -> Changes:
        """Take out of the waiting files a batch of those that hold still."""
        now = time.monotonic()
        settled: Changes = {}
        with self._wake:
            for path, waiting in list(self._waiting.items()):
                quiet_s = QUIET_WRITING_S if waiting.writing else waiting.quiet_s
                if now - waiting.since < quiet_s:
                    continue
                stamp = look(path)
                if stamp != waiting.stamp:
                    waiting.stamp, waiting.since = stamp, now
                    continue
                settled[path] = stamp
                del self._waiting[path]
                if len(settled) >= BATCH:
                    break
            self._applying = bool(settled)
        return settled

    def _next_in(self) -> float:
        """Return how long to wait for the next thing to do; the caller holds the lock."""
        now = time.monotonic()
        due = [
            waiting.since + (QUIET_WRITING_S if waiting.writing else waiting.quiet_s) - now
            for waiting in self._waiting.values()
        ]
        return min(max(min(due, default=CHECK_S), 0.005), CHECK_S)

    def _look_at(self, folder: str) -> bool:
        """Compare a folder with the listing and wait for what differs.

        Returns whether there is a change that events should have told of long ago.
        """
        started = time.monotonic()
        changes = self._listing.differences(folder)
        now = time.monotonic()
        self._looked[folder], self._look_took_s[folder] = now, now - started
        missed = False
        with self._wake:
            for path, stamp in changes.items():
                if path not in self._waiting:
                    age_s = time.time() - stamp.ctime_ns / 1e9 if stamp else 0.0
                    missed = missed or age_s > MISSED_S
                    quiet_s = QUIET_UNSURE_S if stamp and age_s < 2 else QUIET_S
                    self._waiting[path] = _Waiting(stamp, now, quiet_s)
        return missed

    def _check_folders(self) -> None:
        """Watch folders that appeared or were made anew, and look at those whose turn it is."""
        if not self._events.is_running():
            log.warning("The folder events have ended and are started again.")
            self._events.stop()
            self._watched.clear()
        wanted = {*map(str, self._listing.folders), *self._listing.links}
        for folder in self._watched.keys() - wanted:
            self._unwatch(folder)
        for folder in wanted:
            identity = _identity(folder)
            gives_events, watched = self._watched.get(folder, (False, None))
            if identity != watched:
                self._unwatch(folder)
                if identity is not None:
                    self._watched[folder] = (self._events.watch(folder), identity)
                if self._thread.is_alive():
                    self._look_at(folder)
            elif identity is not None and self._is_due(folder, gives_events):
                if self._look_at(folder) and gives_events:
                    log.warning("Events of %s get lost; it is looked at regularly.", folder)
                    self._unwatch(folder)
                    self._watched[folder] = (False, identity)

    def _unwatch(self, folder: str) -> None:
        self._watched.pop(folder, None)
        self._events.unwatch(folder)

    def _is_due(self, folder: str, gives_events: bool) -> bool:
        """Say whether it is time to look at everything in a folder."""
        if not self._thread.is_alive():
            return False
        now = time.monotonic()
        poll_s = max(POLL_S, self._look_took_s.get(folder, 0.0) / POLL_SHARE)
        every_s = SWEEP_S if gives_events else poll_s
        return now - self._looked.setdefault(folder, now) >= every_s


def _identity(folder: str) -> tuple[int, int] | None:
    """Return what tells a folder from one made anew under its name; None if it is missing."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
