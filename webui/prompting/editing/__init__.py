"""Changes to a prompt as it is written: calls put in, taken out and weighed."""
