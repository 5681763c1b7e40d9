"""Textual inversion: from a handful of pictures to a new embedding."""
