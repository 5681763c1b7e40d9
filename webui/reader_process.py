"""Strangers' files are read in a process of its own, started once and kept.

Whatever a file makes of its reader, the app goes on: the process has a limit of memory, each file
a limit of time, and the next file finds a new reader. Between the two go only lengths, JSON and
bytes: two lengths of four bytes each, then so many bytes of JSON and of numbers.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import IO, Any, Protocol

from webui.errors import AppError, UnreadableFile
from webui.settings import ROOT

if sys.platform == "linux":
    import resource

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""So long one file may take; a usual one takes a thousandth of a second."""
START_S = 60.0
"""So long the process may take to begin."""
MEMORY_BYTES = 1 << 30
"""So much more memory the process may take than after its start."""
LARGEST_MESSAGE = 256 << 20
PROCESSES = min(4, max(2, (os.cpu_count() or 1) // 2))
"""Most readers at once; each may take its memory."""
FEW = 16
"""Fewer questions than this go to one reader."""

Answer = tuple[dict[str, Any], bytes]
"""What a reader says of a file: plain data, and numbers or pixels."""
Question = tuple[Any, ...]
"""A function that returns an Answer, and its arguments, which JSON can hold."""


class Ended(UnreadableFile):
    """A file has ended the process that read it."""


class Faulty(UnreadableFile):
    """Reading a file went wrong in a way that nobody has foreseen."""


ENDED = (
    "Reading it took more time or memory than any such file needs, so its reader was ended. "
    "Delete the file unless you know where it comes from."
)
FAULTY = "It could not be read because of an unexpected error; see the log."


class Reader(Protocol):
    """Something that answers questions about files."""

    def ask(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Return what the function says. Raises AppError or OSError as it does; Ended, Faulty."""

    def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
        """Yield the answer to each question in order, or what ``ask`` would raise."""


class Here:
    """Answers in this process, which a terminal's command may be."""

    def ask(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Return what the function says."""
        return function(*arguments)

    def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
        """Yield the answer to each question, or what it raises."""
        for question in questions:
            try:
                yield self.ask(*question)
            except Exception as fault:
                yield fault


HERE = Here()


class ReaderProcess:
    """A process that reads files, one after another; safe to use from any thread."""

    def __init__(self, patience_s: float = PATIENCE_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self._patience_s, self._memory_bytes = patience_s, memory_bytes
        self.lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = float("inf")

    def ask(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Return what the function says there, or raise what it raises."""
        [answer] = self.ask_many([(function, *arguments)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
        """Yield what the functions say there, or raise there, in order.

        All are sent at once, so the next is read while an answer is looked at. Finish with it
        before another question is asked.
        """
        with self.lock:
            answered = 0
            try:
                while answered < len(questions):
                    try:
                        process = self._started()
                        self._send(process, questions[answered:])
                        while answered < len(questions):
                            answer = self._received(process)
                            answered += 1
                            yield answer
                    except (OSError, EOFError, ValueError) as fault:
                        self._end()
                        asked, kind = questions[answered], type(fault).__name__
                        log.warning("The reader ended over %s (%s).", asked[1:], kind)
                        answered += 1
                        yield Ended(ENDED)
            finally:
                if answered < len(questions):
                    self._end()  # answers that nobody waits for any more are on their way

    def close(self) -> None:
        """End the process."""
        with self.lock:
            self._end()

    def _send(self, process: subprocess.Popen[bytes], questions: Sequence[Question]) -> None:
        asked = [
            (f"{function.__module__}:{function.__name__}", *arguments)
            for function, *arguments in questions
        ]
        self._deadline = time.monotonic() + self._patience_s
        try:
            send(process.stdin, asked)
        finally:
            self._deadline = float("inf")

    def _received(self, process: subprocess.Popen[bytes]) -> Answer | Exception:
        """Return the next answer; the process is killed if none comes in time."""
        self._deadline = time.monotonic() + self._patience_s
        try:
            told, data = receive(process.stdout)
        finally:
            self._deadline = float("inf")
        if "answer" in told:
            return told["answer"], data
        if "errno" in told:
            return OSError(told["errno"], told["strerror"], told["path"])
        if "fault" in told:
            log.error("Unexpected fault while a file was read: %s", told["fault"])
            return Faulty(FAULTY)
        if "ended" in told:
            return Ended(ENDED)
        kind = UnreadableFile if told["unreadable"] else AppError
        return kind(told["error"])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        command = [sys.executable, "-m", __name__, str(self._memory_bytes)]
        pipe = subprocess.PIPE
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each takes memory
        self._process = process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **one_thread},
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
        )
        atexit.register(self.close)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        self._deadline = time.monotonic() + START_S
        try:
            receive(process.stdout)
        except EOFError as fault:
            self._end()
            raise AppError("The process that reads files could not be started.") from fault
        finally:
            self._deadline = float("inf")
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process once an answer is overdue."""
        while process.poll() is None:
            if time.monotonic() > self._deadline:
                process.kill()
            time.sleep(0.2)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # what was not yet sent
        atexit.unregister(self.close)


class ReaderProcesses:
    """A few reader processes, each started when all before it are busy."""

    def __init__(self, count: int = PROCESSES) -> None:
        self._readers = [ReaderProcess() for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, "reader")

    def ask(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """As ``ReaderProcess.ask``, by one that is free."""
        return self._free().ask(function, *arguments)

    def ask_many(self, questions: Sequence[Question]) -> Iterator[Answer | Exception]:
        """As ``ReaderProcess.ask_many``; many questions are shared among all processes.

        Those are read whether or not anybody waits for the answers yet.
        """
        if len(questions) < FEW:
            return self._free().ask_many(questions)
        share = -(-len(questions) // len(self._readers))
        parts = [questions[start : start + share] for start in range(0, len(questions), share)]
        asked = [
            self._threads.submit(list, reader.ask_many(part))
            for reader, part in zip(self._readers, parts, strict=False)
        ]
        return (answer for answers in asked for answer in answers.result())

    def close(self) -> None:
        """End the processes."""
        for reader in self._readers:
            reader.close()

    def _free(self) -> ReaderProcess:
        for reader in self._readers:
            if not reader.lock.locked():
                return reader
        return self._readers[0]


@cache
def shared_reader() -> ReaderProcesses:
    """Return the readers that all parts of this process share; they start at their first use."""
    return ReaderProcesses()


def serve(memory_bytes: int) -> None:
    """Answer questions from standard input on standard output until it is closed."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    _limit(memory_bytes)
    send(answers, {})
    functions: dict[str, Callable[..., Answer]] = {}
    while True:
        try:
            asked, _ = receive(questions)
        except EOFError:
            return
        for name, *arguments in asked:
            if name not in functions:
                module, function = name.split(":")
                functions[name] = getattr(import_module(module), function)
            send(answers, *_answer(functions[name], arguments))


def _answer(function: Callable[..., Answer], arguments: Sequence[Any]) -> Answer:
    try:
        answer, data = function(*arguments)
        return {"answer": answer}, data
    except AppError as fault:
        return {"error": str(fault), "unreadable": isinstance(fault, UnreadableFile)}, b""
    except OSError as fault:
        path = fault.filename if isinstance(fault.filename, str) else ""
        return {"errno": fault.errno, "strerror": fault.strerror or str(fault), "path": path}, b""
    except MemoryError:
        return {"ended": True}, b""
    except Exception as fault:  # the border of this process: told to the app, which logs it
        return {"fault": repr(fault)[:500]}, b""


def _limit(memory_bytes: int) -> None:
    """Let the process take only so much more memory; only Linux has such limits."""
    if sys.platform != "linux":
        return
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def send(stream: IO[bytes] | None, told: Any, data: bytes = b"") -> None:
    """Send plain data, and bytes beside it."""
    assert stream is not None
    text = json.dumps(told).encode()
    stream.write(struct.pack("<II", len(text), len(data)) + text)
    if data:
        stream.write(data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> tuple[Any, bytes]:
    """Return the next message; EOFError where none comes any more."""
    assert stream is not None
    head = stream.read(8)
    if len(head) != 8:
        raise EOFError
    sizes = struct.unpack("<II", head)
    if max(sizes) > LARGEST_MESSAGE:
        raise EOFError
    text, data = (stream.read(size) for size in sizes)
    if (len(text), len(data)) != sizes:
        raise EOFError
    return json.loads(text), data


if __name__ == "__main__":
    serve(int(sys.argv[1]))
