"""Training in the studio: the queue of runs, what is asked before one, and what comes of it."""
