"""One backend for all Blenders of a batch; it is started again at the same address where it dies."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from backend.cli.batch_log import EventLog
from backend.cli.errors import CommandError, Interrupted
from backend.protocol.keys import kept_keys

START_SECONDS = 60.0
POLL_SECONDS = 0.2
STOP_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 30.0
"""Each restart waits twice as long as the one before, up to this."""


class OneBackend:
    """A backend of this process for clients that have its keys."""

    def __init__(self, folder: Path, log: EventLog) -> None:
        """Start it, and wait for nothing. folder: for its files; the caller removes it. Raises CommandError."""
        folder.mkdir(parents=True, mode=0o700)
        self._folder = folder
        self._log = log
        self._client_keys = folder / "client_keys.json"
        self._address_file = folder / "address.json"
        self._ended = threading.Event()
        self._address = "tcp://127.0.0.1:*"
        self._public_key = kept_keys(self._client_keys).public
        self._process = self._start()
        self._watch = threading.Thread(target=self._keep_alive, name="PBRfit backend", daemon=True)
        self._watch.start()

    def setup(self, stop: threading.Event) -> dict[str, Any]:
        """What a request of drive.py needs to use it. Waits until it listens. Raises CommandError, or Interrupted at ``stop``."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if stop.is_set():
                raise Interrupted
            with contextlib.suppress(OSError, ValueError):
                if self._process.poll() is not None:
                    raise OSError  # its file is of no use: it will be started again
                said = json.loads(self._address_file.read_text(encoding="utf-8"))
                backend = {"address": said["address"], "key": said["public_key"]}
                return {"backend": {**backend, "client_keys": str(self._client_keys)}}
            time.sleep(POLL_SECONDS)
        raise CommandError(
            f"The backend did not answer within {START_SECONDS:.0f} seconds.{self._last_words()}",
            "Run `pbrfit doctor` to see what is missing.",
        )

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._watch.join()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with contextlib.suppress(OSError, ValueError):  # the one before has left it: the next listens there
            self._address = json.loads(self._address_file.read_text(encoding="utf-8"))["address"]
        self._address_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "backend", "serve", "--address", self._address]
        command += ["--address-file", str(self._address_file), "--parent-pid", str(os.getpid())]
        command += [f"--client-key={self._public_key}", "--key-file", str(self._folder / "backend_keys.json")]
        command += ["--checkpoints", str(self._folder / "checkpoints")]
        with open(self._folder / "backend.log", "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _keep_alive(self) -> None:
        delay = POLL_SECONDS
        while not self._ended.wait(POLL_SECONDS):
            status = self._process.poll()
            if status is not None:
                self._log.write("backend_restart", status=status, last_words=self._last_words().strip())
                if self._ended.wait(delay):
                    return
                self._process = self._start()
                delay = min(2.0 * delay, LONGEST_DELAY_SECONDS)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "backend.log").read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(["", *lines[-8:]])
        return ""
