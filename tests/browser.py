"""A headless Chromium for tests, driven by the Chrome DevTools protocol over two pipes: no package is needed."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-pipe"),
)


class Browser:
    """One page. `errors` collects what its console or its scripts complained of, `requests` every URL it asked for."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._buffer, self._number = read, write, b"", 0
        self._session = ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; notes the events that come meanwhile."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(30)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def open(self, address: str) -> None:
        self.errors.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"still not: {condition}; the page complained: {self.errors}"
            time.sleep(0.03)

    def screen(self, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        """Sets the size of the window in CSS pixels and the colour scheme that the system asks for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, selector: str | None = None, *, whole: bool = False) -> np.ndarray:
        """[H, W, 3] uint8: of the window, of the whole page, or of an element, which is scrolled to."""
        options: dict[str, Any] = {"captureBeyondViewport": whole}
        if selector is not None:
            self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
            options["clip"] = {**self.box(selector), "scale": 1}
            options["clip"]["x"] += self.run("scrollX")
            options["clip"]["y"] += self.run("scrollY")
        png = base64.b64decode(self.call("Page.captureScreenshot", **options)["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def box(self, selector: str) -> dict[str, float]:
        """x, y, width, height of an element in the window."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        return self.run(f"(({{x, y, width, height}}) => ({{x, y, width, height}}))({box})")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button held, in the window's pixels."""
        places = [start, *(tuple(a + (b - a) * n / 4 for a, b in zip(start, end, strict=True)) for n in range(1, 5))]
        kinds = ["mousePressed", *["mouseMoved"] * 4, "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, end], strict=True):
            button = {"button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, pointerType="mouse", **button)

    def _receive(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], seconds)
            assert ready, "Chromium does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, of: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(of["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(of["exceptionDetails"].get("exception", of["exceptionDetails"])))
        elif event == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in of["args"]))
        elif event == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            self.errors.append(of["entry"]["text"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Starts Chromium with a fresh profile and ends it."""
    assert CHROMIUM is not None
    commands, answers = os.pipe(), os.pipe()  # (read, write); Chromium has its ends as file descriptors 3 and 4
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands[0], answers[1])]
    connect = f'exec "$@" 3</proc/self/fd/{ends[0]} 4>/proc/self/fd/{ends[1]}'
    process = subprocess.Popen(
        ["sh", "-c", connect, "sh", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=ends,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (*ends, commands[0], answers[1]):
        os.close(end)
    try:
        yield Browser(answers[0], commands[1])
    finally:
        process.terminate()
        process.wait(10)
        os.close(answers[0])
        os.close(commands[1])
