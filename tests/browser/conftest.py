"""A real browser, and services whose page it opens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright
from studio_page import PATIENCE_MS, Studio

from examples.demo import running_service
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PACED = Path(__file__).resolve().parents[1] / "integration"
FLAGS = [
    "--no-sandbox",  # Chromium's own sandbox does not start for root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",  # and is allowed
]


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window.

    Started for each module: while Playwright runs, its event loop is the thread's, and no coroutine of a test can run.
    """
    binary = shutil.which("chromium")
    if binary is None:
        missing("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def paced_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a whole service whose model only keeps time: the prompt says how slowly (paced_engine.py)."""
    settings = {
        "KEYVID_ENGINE": "paced_engine:load",
        "KEYVID_CANCEL_POLL_SECONDS": "0.1",
        "KEYVID_IDLE_POLL_SECONDS": "0.2",
        "PYTHONPATH": str(PACED),
    }
    with running_service(tmp_path_factory.mktemp("paced"), settings) as service:
        yield service.url


@pytest.fixture(scope="session")
def mini_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a whole service with the shipped model."""
    with running_service(tmp_path_factory.mktemp("mini")) as service:
        yield service.url


@pytest.fixture
def studio(chromium: Browser, paced_url: str) -> Iterator[Studio]:
    """The page of the paced service; its test fails if it logs an error or asks anything of another host."""
    with Studio.opened(chromium, paced_url) as page:
        yield page
