"""One step of a run: how what is learned moves, and the same as one compiled graph."""
