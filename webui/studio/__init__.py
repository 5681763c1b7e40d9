"""State and threads: the one object that the page, the API and the terminal talk to."""
