"""The starter model: a little world of drawn pictures, and a small model trained on it."""
