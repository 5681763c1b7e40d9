"""Reads strangers' files in a process of its own, started once and kept.

Whatever a file makes of its reader, the app goes on: the process has a limit of memory, each file
a limit of time, and the next file finds a new reader. Between the two go only lengths, JSON and
the numbers of vectors, each message as four bytes of length and then so many bytes.
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
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.embeddings.formats import Inspection
from webui.errors import AppError
from webui.settings import ROOT

if sys.platform == "linux":
    import resource

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""So long one file may take; a usual one takes a thousandth of a second."""
START_S = 120.0
"""So long the process may take to import torch."""
MEMORY_BYTES = 1 << 30
"""So much more memory the process may take than after its start."""
LARGEST_MESSAGE = 256 << 20
ENDED = (
    "Reading it took more time or memory than any embedding needs, so its reader was ended. "
    "Delete the file unless you know where it comes from."
)


class ReaderProcess:
    """A process that inspects files, one after another; safe to use from any thread."""

    def __init__(self, patience_s: float = PATIENCE_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self._patience_s, self._memory_bytes = patience_s, memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = float("inf")

    def inspect(self, path: Path, hashed: bool = True) -> Inspection:
        """Return what ``formats.inspect`` says of a file, or raise what it raises."""
        with self._lock:
            process = self._started()
            try:
                answer = self._asked(process, {"path": str(path), "hashed": hashed})
                numbers = _receive(process.stdout) if "found" in answer else b""
            except (OSError, EOFError, ValueError) as fault:
                self._end()
                log.warning("The reader ended over %s (%s).", path, type(fault).__name__)
                raise formats.Refused(path, ENDED) from fault
        return _inspection(path, answer, numbers)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _asked(self, process: subprocess.Popen[bytes], question: dict[str, Any]) -> dict[str, Any]:
        """Send a question and return the answer; the process is killed if none comes in time."""
        self._deadline = time.monotonic() + self._patience_s
        try:
            _send(process.stdin, json.dumps(question).encode())
            answer: dict[str, Any] = json.loads(_receive(process.stdout))
            return answer
        finally:
            self._deadline = float("inf")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        command = [sys.executable, "-m", __name__, str(self._memory_bytes)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        atexit.register(self.close)
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()
        self._deadline = time.monotonic() + START_S
        import_module("torch")  # needed for what is found; both processes import it at once
        try:
            _receive(self._process.stdout)
        except EOFError as fault:
            raise AppError("The process that reads files could not be started.") from fault
        finally:
            self._deadline = float("inf")
        return self._process

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


@cache
def shared_reader() -> ReaderProcess:
    """Return the one reader that all parts of this process share; it starts at its first use."""
    return ReaderProcess()


def _inspection(path: Path, answer: dict[str, Any], numbers: bytes) -> Inspection:
    """Return the answer as the inspection that it is, or raise what it says."""
    import torch

    if "refused" in answer:
        kind = formats.NoEmbedding if answer["empty"] else formats.Refused
        raise kind(path, answer["refused"], answer["short_hash"])
    if "errno" in answer:
        raise OSError(answer["errno"], answer["strerror"], str(path))
    if "fault" in answer:
        log.error("Unexpected fault while reading %s: %s", path, answer["fault"])
        raise formats.Refused(path, "It could not be read because of an unexpected error.")
    embeddings, start = [], 0
    for one in answer["found"].pop("embeddings"):
        vectors = {}
        for key, (rows, width) in one.pop("vectors").items():
            end = start + rows * width * 4
            flat = torch.frombuffer(bytearray(numbers[start:end]), dtype=torch.float32)
            vectors[key], start = flat.reshape(rows, width), end
        embeddings.append(Embedding(vectors=vectors, source=path, **one))
    return Inspection(embeddings=tuple(embeddings), **answer["found"])


def serve(memory_bytes: int) -> None:
    """Answer questions from standard input on standard output until it is closed."""
    import torch

    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    torch.set_num_threads(1)
    _limit(memory_bytes)
    _send(answers, b"ready")
    while True:
        try:
            question = json.loads(_receive(questions))
        except EOFError:
            return
        answer, numbers = _answer(Path(question["path"]), question["hashed"])
        _send(answers, json.dumps(answer).encode())
        if numbers is not None:
            _send(answers, numbers)


def _answer(path: Path, hashed: bool) -> tuple[dict[str, Any], bytes | None]:
    try:
        found = formats.inspect(path, hashed)
    except formats.Refused as refused:
        empty = isinstance(refused, formats.NoEmbedding)
        answer = {"refused": refused.reason, "empty": empty, "short_hash": refused.short_hash}
        return answer, None
    except OSError as fault:
        return {"errno": fault.errno, "strerror": fault.strerror or str(fault)}, None
    except MemoryError:
        return {"refused": ENDED, "empty": False, "short_hash": ""}, None
    except Exception as fault:  # the border of this process: told to the app, which logs it
        return {"fault": repr(fault)[:500]}, None
    embeddings, numbers = [], []
    for one in found.embeddings:
        facts = {key: value for key, value in vars(one).items() if key in _FACTS}
        facts["vectors"] = {key: list(tensor.shape) for key, tensor in one.vectors.items()}
        numbers += [tensor.contiguous().numpy().tobytes() for tensor in one.vectors.values()]
        embeddings.append(facts)
    told = {**vars(found), "metadata": dict(found.metadata), "embeddings": embeddings}
    return {"found": told}, b"".join(numbers)


_FACTS = ("name", "step", "trained_on", "trained_on_hash", "inner_name", "kind", "initializer")


def _limit(memory_bytes: int) -> None:
    """Let the process take only so much more memory; only Linux has such limits."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(stream: IO[bytes] | None, message: bytes) -> None:
    assert stream is not None
    stream.write(struct.pack("<I", len(message)) + message)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> bytes:
    """Return the next message; EOFError where none comes any more."""
    assert stream is not None
    head = stream.read(4)
    length = struct.unpack("<I", head)[0] if len(head) == 4 else LARGEST_MESSAGE + 1
    message = stream.read(length) if length <= LARGEST_MESSAGE else b""
    if len(message) != length:
        raise EOFError
    return message


if __name__ == "__main__":
    serve(int(sys.argv[1]))
