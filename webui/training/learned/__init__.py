"""What a run learns: the names in it, and what came of them at a step."""
