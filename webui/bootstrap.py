"""Builds the studio, the page and the routes, and serves them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from webui.api.connections import be_patient
from webui.api.routes import joined
from webui.errors import AppError
from webui.files import remove_older
from webui.settings import LOCAL_HOSTS, Settings
from webui.studio.studio import Studio

log = logging.getLogger(__name__)

MAX_UPLOAD = "64mb"
LONGEST_CLOSING_S = 1.0
UPLOADS_KEPT_S = 86_400


def launch(settings: Settings) -> tuple[Studio, Any, str]:
    """Serve the page and load the model in the background; returns studio, page and address.

    Raises AppError if the port is taken.
    """
    prepare_environment(settings)
    import gradio as gr

    from webui.ui import languages, page
    from webui.ui.polling import Poll
    from webui.ui.theme import asset, head, theme

    studio = Studio(settings)
    studio.open()
    pictures = [settings.outputs_dir / name for name in ("txt2img", "grids", "train")]
    for folder in pictures:
        folder.mkdir(parents=True, exist_ok=True)
    gr.set_static_paths(pictures)
    poll = Poll()
    tables = languages.tables(settings)
    demo = page.build(studio, poll, tables)
    demo.queue(max_size=50)
    try:
        _, url, _ = demo.launch(
            server_name=settings.host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            auth=settings.auth,
            max_file_size=MAX_UPLOAD,
            run_history=False,
            enable_monitoring=False,
            footer_links=["api"],
            mcp_server=settings.mcp,
            theme=theme(),
            css=asset("app.css"),
            head=languages.addresses(tables) + head(),
            blocked_paths=[str(settings.cache_dir)],
            app_kwargs={
                "lifespan": joined(studio, poll.versions, tables),
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
        )
    except OSError as error:
        studio.close()
        raise AppError(
            f"Port {settings.port} is taken, maybe by another copy of the app. "
            "Choose another one with --port."
        ) from error
    be_patient(demo.server)
    try:
        studio.models.switch()
    except AppError as error:
        log.error("%s", error)
    return studio, demo, url


def serve(settings: Settings) -> None:
    """Launch the app and keep it running until Ctrl+C or SIGTERM."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    try:
        studio, demo, url = launch(settings)
    except AppError as error:
        raise SystemExit(str(error)) from error
    log.info("Running on %s", url)
    done.wait()
    log.info("Closing.")
    _close(studio)


def _close(studio: Studio) -> NoReturn:
    """End the process at once, except that a training run is saved first.

    Open pages, drawing and reading hold threads that the interpreter would wait for; nothing of
    what they do needs to be ended properly, since files are written whole or not at all.
    """
    saving = threading.Thread(target=studio.training.close, name="saving")
    rest = threading.Thread(target=studio.close, name="closing", daemon=True)
    saving.start()
    rest.start()
    saving.join()
    rest.join(LONGEST_CLOSING_S)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def prepare_environment(settings: Settings) -> None:
    """Keep Gradio and the hub client from the network, and uploads inside our own folder."""
    settings.uploads_dir.mkdir(parents=True, exist_ok=True)
    remove_older(settings.uploads_dir, UPLOADS_KEPT_S)
    remove_older(settings.cache_dir / "uploads", 0.0)  # where earlier versions left them
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "FORWARDED_ALLOW_IPS": "127.0.0.1,::1" if settings.behind_proxy else "",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(settings.uploads_dir),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    # Gradio asks its own address at the start; a proxy must not stand between.
    for key in ("no_proxy", "NO_PROXY"):
        known = os.environ.get(key, "")
        os.environ[key] = ",".join(filter(None, [known, *LOCAL_HOSTS]))
