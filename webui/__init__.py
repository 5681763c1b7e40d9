"""Embeddings WebUI: use, browse and train Stable Diffusion embeddings in the browser."""

__version__ = "0.2.0"
