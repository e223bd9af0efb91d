"""A page with the 3D view, served on this machine: scenes are read and sent when they are asked for."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from pointseg.errors import InputError
from pointseg.evaluation.scene_points import encode_points, read_scene_points
from pointseg.report.eval_file import read_evaluation
from pointseg.report.pages import page_environment
from pointseg.report.report import main_protocol
from pointseg.report.scenes import accuracy_note, legends, read_scene, scene_order, viewer_facts
from pointseg.rundir import RunDirectory

HOST = "127.0.0.1"  # nobody else's machine may look


class ViewedScene(NamedTuple):
    name: str
    note: str
    load: Callable[[], bytes]  # the bytes of `encode_points`


def run_scenes(run: RunDirectory) -> list[ViewedScene]:
    """The scenes that an evaluated run keeps, the worst first: whole where it has every point, thinned otherwise.

    Raises:
        InputError: not evaluated, or without any scene.
    """
    run.load_config()
    if not run.eval_file.is_file():
        raise InputError(f"run: {run.path} has no eval.json; evaluate it first: pointseg evaluate {run.path}")
    rows = scene_order(main_protocol(read_evaluation(run.eval_file))[1])
    thinned = read_scene_points(run.scene_points_file, [row["scene"] for row in rows])
    scenes = []
    for row in rows:
        name, whole = row["scene"], run.scenes / f"{row['scene']}.npz"
        if whole.is_file():
            scenes.append(ViewedScene(name, f"{accuracy_note(row)}, every point", lambda p=whole: _whole(p)))
        elif name in thinned:
            scenes.append(ViewedScene(name, accuracy_note(row), lambda n=name: thinned[n]))
    if not scenes:
        raise InputError(
            f"run: {run.path} keeps no points of its scenes; evaluate it again: pointseg evaluate {run.path}"
        )
    return scenes


def view_server(title: str, scenes: Sequence[ViewedScene], port: int) -> ThreadingHTTPServer:
    """A server of the page on `port` of this machine, 0 for any that is free; `serve_forever` starts it.

    Raises:
        InputError: the port is taken.
    """
    page = page_environment().get_template("view.html.jinja")
    facts = viewer_facts((scene.name, scene.note) for scene in scenes)
    handler = _handler(page.render(title=title, about_scenes=facts, **legends()).encode(), scenes)
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OverflowError:
        raise InputError(f"port: expected 0 to 65535, got {port}") from None
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(
            f"port: {port} cannot be had ({error.strerror}); give another, or 0 for any free one"
        ) from None


def _handler(page: bytes, scenes: Sequence[ViewedScene]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
                self.send_error(403)  # a page from elsewhere whose name was made to lead here
            elif self.path == "/":
                self._send(page, "text/html; charset=utf-8")
            elif self.path in paths:
                try:
                    content = paths[self.path].load()
                except InputError as error:
                    self.send_error(500, str(error))
                else:
                    self._send(content, "application/octet-stream")
            else:
                self.send_error(404)

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    paths = {f"/points/{number}": scene for number, scene in enumerate(scenes)}
    return Handler


def _whole(file: Path) -> bytes:
    return encode_points(*read_scene(file))
