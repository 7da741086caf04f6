"""Pages in a real headless Chromium, for the tests of what people look at.

    @pytest.fixture(scope="module")
    def open_page():
        with chromium_pages() as open_page:
            yield open_page

    def test_it(open_page):
        opened = open_page(path.as_uri(), width=400, dark=True)
        assert opened.page.title() == "…"
        assert opened.errors == []

Playwright runs an event loop in this thread while the fixture lives: what a test serves to the
page lives in another thread or process.
"""

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
HEIGHTS = {400: 800}  # of a phone; other widths get a desktop's
TIMEOUT_MS = 20_000  # of a machine that does something else, too


@dataclass(frozen=True)
class Opened:
    """A page, what it complained of, and what it asked for."""

    page: object  # playwright.sync_api.Page
    errors: list = field(default_factory=list)  # console errors and warnings, exceptions, failures
    requests: list = field(default_factory=list)  # URLs, without data: and blob:


def chromium_path():
    """The installed Chromium; skips the test where there is none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")


def wait_until(page, expression, arg=None, timeout_s=TIMEOUT_MS / 1000):
    """Until ``expression`` is true on the page.

    Asked from outside: ``wait_for_function`` asks by ``eval`` on the page, which the pages forbid.
    """
    end = time.monotonic() + timeout_s
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"not true in time: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def chromium_pages():
    """Give open_page(url, width=1280, dark=False, **options of Browser.new_context) -> Opened."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = chromium_path()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            env=_environment(),
        )

        def open_page(url, width=1280, dark=False, **options):
            options.setdefault("viewport", {"width": width, "height": HEIGHTS.get(width, 900)})
            options.setdefault("color_scheme", "dark" if dark else "light")
            options.setdefault("reduced_motion", "reduce")  # nothing moves while a test looks
            context = browser.new_context(**options)
            context.set_default_timeout(TIMEOUT_MS)
            opened = Opened(context.new_page())
            _listen(opened)
            opened.page.goto(url)
            return opened

        try:
            yield open_page
        finally:
            browser.close()


def _listen(opened):
    page = opened.page
    page.on("console", lambda message: _complaint(opened, message))
    page.on("pageerror", lambda error: opened.errors.append(f"exception: {error}"))
    page.on("requestfailed", lambda sent: opened.errors.append(f"failed: {sent.url[:200]}"))
    page.on("request", lambda sent: _request(opened, sent.url))


def _complaint(opened, message):
    if message.type in ("error", "warning"):
        opened.errors.append(f"{message.type}: {message.text}")


def _request(opened, url):
    if not url.startswith(("data:", "blob:")):
        opened.requests.append(url)


def _environment():
    """Ours without a display or a session bus, which headless Chromium would look for."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    }
