"""A package index on this machine, which pip asks over HTTP, and wheels to put into it."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

from backend.extension.archives import with_record, write_zip

PART = 65536


def write_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """Write a wheel with some files, by their path in site-packages."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    about = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    write_zip(path, with_record({**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": about}, info))
    return path


def fetch_pip(folder: Path) -> None:
    """A wheel of a pip that counts bytes, by the pip that is here from where it is configured to look."""
    command = [sys.executable, "-m", "pip", "download", "pip>=24.1", "--no-deps", "--quiet", "--dest", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


class Index(BaseHTTPRequestHandler):
    """Answers as an index does: a page of links for each package, and the files, at most so many bytes in a second."""

    def __init__(self, *arguments: object, folder: Path, bytes_per_second: float) -> None:
        self.folder, self.bytes_per_second = folder, bytes_per_second
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer one request."""
        kind, _, name = unquote(self.path).strip("/").partition("/")
        found = sorted(self.folder.glob(f"{name}-*.whl" if kind == "simple" else name))
        if not found:
            self.send_error(404)
            return
        content = found[0].read_bytes()
        if kind == "simple":
            address = f"/files/{found[0].name}#sha256={hashlib.sha256(content).hexdigest()}"
            content = f'<html><body><a href="{address}">{found[0].name}</a></body></html>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if kind == "simple" else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # pip was ended
            for start in range(0, len(content), PART):
                self.wfile.write(content[start : start + PART])
                time.sleep(PART / self.bytes_per_second)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path, bytes_per_second: float = 1e9) -> Iterator[str]:
    """Serve the wheels of a folder; gives the index's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, folder=folder, bytes_per_second=bytes_per_second))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
