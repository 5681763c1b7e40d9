"""FastAPI routes beside the page."""
