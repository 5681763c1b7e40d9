"""The front door of a checkout: ``python app.py`` starts the web UI."""

from webui.cli.serving import main

if __name__ == "__main__":
    main()
