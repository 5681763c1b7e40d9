"""Embedding files and the library of those in use."""
