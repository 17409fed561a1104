"""A GLB as three.js shows it in a Chromium without a window: the page is served from here, and sends its picture back."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from pathlib import Path

from backend.cli.errors import CommandError

PAGE = Path(__file__).with_name("web_viewer.html")
LONGEST_SECONDS = 120.0
TYPES = {".js": "text/javascript", ".html": "text/html", ".json": "application/json"}


def web_picture(chromium: Path, three: Path, model: Path, folder: Path) -> bytes:
    """The PNG that the page makes of a model, with alpha. three: the folder of the npm package; folder: with view.json and
    light.bin, of exported_inside.py. Raises CommandError."""
    answers: list[str] = []
    came = threading.Event()
    files = {"/": PAGE, "/model.glb": model, "/view.json": folder / "view.json", "/light.bin": folder / "light.bin"}

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = files.get(self.path)
            if path is None and self.path.startswith("/three/") and ".." not in self.path:
                path = three / self.path.removeprefix("/three/")
            if path is None or not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            answers.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()
            came.set()

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            *(str(chromium), "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--disable-dev-shm-usage"),
            *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-first-run"),
            *(f"--user-data-dir={folder / 'chromium'}", f"http://127.0.0.1:{server.server_port}/"),
        ]
        with open(folder / "chromium.log", "wb") as log:
            browser = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)
            try:
                came.wait(LONGEST_SECONDS)
            finally:
                browser.terminate()
                browser.wait(20.0)
        server.shutdown()
    if not answers or not answers[0].startswith("data:image/png;base64,"):
        why = answers[0] if answers else f"it said nothing in {LONGEST_SECONDS:.0f} s"
        raise CommandError(f"The page made no picture: {why}.", f"See {folder / 'chromium.log'}.")
    return base64.b64decode(answers[0].partition(",")[2])
