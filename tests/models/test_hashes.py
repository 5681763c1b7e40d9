"""Hashes of large files are computed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from webui.models import hashes


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large."""
    monkeypatch.setattr(hashes, "_SMALL", 10)
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights" * 10)
    return path


def ten_digits(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def test_the_hash_is_that_of_a1111(large, tmp_path):
    assert hashes.short_hash(large, tmp_path / "cache.json") == ten_digits(large)


def test_a_known_file_is_not_read_again(large, tmp_path, monkeypatch):
    cache = tmp_path / "sub" / "cache.json"
    assert hashes.known_short_hash(large, cache) is None
    first = hashes.short_hash(large, cache)

    def must_not_run(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(hashes, "sha256", must_not_run)
    assert hashes.short_hash(large, cache) == first
    assert hashes.known_short_hash(large, cache) == first


def test_a_changed_file_is_hashed_again(large, tmp_path):
    cache = tmp_path / "cache.json"
    first = hashes.short_hash(large, cache)
    large.write_bytes(b"changed" * 10)
    os.utime(large, ns=(1, 1))
    assert hashes.short_hash(large, cache) == ten_digits(large) != first


def test_files_that_are_gone_are_forgotten(large, tmp_path):
    cache = tmp_path / "cache.json"
    hashes.short_hash(large, cache)
    other = large.rename(tmp_path / "b.safetensors")
    hashes.short_hash(other, cache)
    assert str(large) not in cache.read_text()
    assert str(other) in cache.read_text()


@pytest.mark.parametrize("content", ["", "[1]", '{"x": 3}', "{"])
def test_a_damaged_cache_is_made_again(large, tmp_path, content):
    cache = tmp_path / "cache.json"
    cache.write_text(content)
    assert hashes.short_hash(large, cache) == ten_digits(large)
    assert hashes.known_short_hash(large, cache) == ten_digits(large)


def test_small_files_are_hashed_without_a_trace(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    assert hashes.known_short_hash(path, tmp_path / "cache.json") == ten_digits(path)
    assert not (tmp_path / "cache.json").exists()


def test_a_cache_that_cannot_be_written_does_no_harm(large, tmp_path):
    (tmp_path / "file").touch()
    assert hashes.short_hash(large, tmp_path / "file" / "cache.json") == ten_digits(large)
