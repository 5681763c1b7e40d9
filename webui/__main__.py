"""``python -m webui``: the app's parts in a terminal."""

from webui.cli import main

main()
