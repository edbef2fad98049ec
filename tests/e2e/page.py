"""The console in a real Chromium, used as a person does: a link, buttons by their names, a reason."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Self

from axe_core_python.selenium import Axe  # type: ignore[import-untyped] # ships no types
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from pathlib import Path

WAIT_SECONDS = 10.0


class Page:
    """One browser window of 1,280 by 900 pixels.

    Args:
        directory: where screenshots go.
        profile: an empty directory for the browser.
    """

    def __init__(self, directory: Path, profile: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        options = webdriver.ChromeOptions()
        for argument in (
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900",
            f"--user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(argument)
        options.binary_location = "/usr/bin/chromium"
        self._browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.quit()

    def sign_in(self, url: str, actor: str, token: str) -> None:
        """Follow a link, and log in where it leads to."""
        self._browser.get(url)
        for name, text in (("actor", actor), ("token", token)):
            self._browser.find_element(By.NAME, name).send_keys(text)
        self._browser.find_element(By.CSS_SELECTOR, "main button").click()
        # Whoever goes elsewhere before the answer is there has no session yet.
        self._wait(lambda: self.text() and not self._browser.find_elements(By.NAME, "token"), "page behind the log-in")

    def open(self, url: str, expected: str, screenshot: str) -> None:
        """Open a page, wait for a text on it, and keep a screenshot either way."""
        self._browser.get(url)
        try:
            self.wait_for(expected)
        finally:
            self._browser.save_screenshot(str(self._directory / f"{screenshot}.png"))

    def press(self, name: str, reason: str, screenshot: str) -> None:
        """Give a reason where the button's form asks for one, and press the button of that name."""
        button = next(
            (found for found in self._browser.find_elements(By.TAG_NAME, "button") if name in found.text.casefold()),
            None,
        )
        if button is None:
            raise LookupError(f"no button {name!r}")
        for field in button.find_elements(By.XPATH, "ancestor::form//*[@name='reason']"):
            field.send_keys(reason)
        button.click()
        self._browser.save_screenshot(str(self._directory / f"{screenshot}.png"))

    def shape(self, width: int, height: int, scheme: str) -> None:
        """A screen of that many pixels, for a person who likes `light` or `dark`."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self._browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def whole(self, screenshot: str) -> None:
        """Keep a picture of the page from top to bottom."""
        found = self._browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (self._directory / f"{screenshot}.png").write_bytes(base64.b64decode(found["data"]))

    def violations(self) -> list[str]:
        """What axe finds wrong on the page, one line an element."""
        found = Axe().run(self._browser)["violations"]
        return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]

    def run(self, script: str) -> Any:  # noqa: ANN401 # JSON
        """Run a script in the page; its value."""
        return self._browser.execute_script(script)

    def text(self) -> str:
        """What the page says; nothing while it is being loaded."""
        return str(self.run("return document.readyState === 'complete' ? document.body.innerText : ''"))

    def key(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        self._browser.switch_to.active_element.send_keys(*keys)

    def errors(self) -> list[str]:
        """What the browser complained about, such as what the content security policy forbade."""
        return [entry["message"] for entry in self._browser.get_log("browser")]  # type: ignore[no-untyped-call] # selenium is half typed

    def wait_for(self, expected: str) -> None:
        """Wait for a text on the page."""
        self._wait(lambda: expected in self.text(), expected)

    def _wait(self, check: object, what: str) -> None:
        # While one page gives way to the next the driver may fail in several ways.
        waiting = WebDriverWait(self._browser, WAIT_SECONDS, ignored_exceptions=[WebDriverException])
        waiting.until(lambda _: check(), f"no {what!r} on the page")  # type: ignore[operator] # a callable
