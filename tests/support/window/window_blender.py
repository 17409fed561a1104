"""Drive a Blender with a window from outside: mouse and keys by xdotool; it writes its state to a file.

Inside, `report_state.py` writes the state of Blender to a file a few times a second, and opens the test's file when it is
asked to; nothing else is done from inside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

START_SECONDS = 120.0
ANSWER_SECONDS = 30.0
HOVER_STEP = 10
SCRIPT = Path(__file__).with_name("report_state.py")


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


class WindowBlender:
    """One Blender process with a window; use it as a context manager."""

    def __init__(
        self,
        command: str,
        display: str,
        screen: tuple[int, int],
        folder: Path,
        archive: Path,
        request: dict,
        script: Path = SCRIPT,
    ) -> None:
        """Start it; request: how many `views`, and optionally the `scene` and the backend's `python`; script: what runs inside.

        The scene "bake" needs its `resolution`, and whether it has a material that is `unreadable`; it may have settings of
        the `output`. With a `language`, everything is translated into that; what becomes of the `phrases` is in the state.
        """
        self.screen = screen
        self.folder = folder
        self.state_file = folder / "state.json"
        self.environment = {
            **os.environ,
            "DISPLAY": display,
            "BLENDER_USER_RESOURCES": str(folder / "user"),
            # Two versions of Mesa cannot share Mesa's common cache: the index of the other one ends this one with SIGBUS.
            "MESA_SHADER_CACHE_DIR": str(folder / "shaders"),
        }
        width, height = screen
        start = [command, "--factory-startup", "--window-geometry", "0", "0", str(width), str(height)]
        self.file = folder / "scene.blend"
        request = {
            "extension": str(archive),
            "scene": "",
            "language": "",
            "phrases": [],
            "python": os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable,
            "state": str(self.state_file),
            "file": str(self.file),
        } | request
        self.log = folder / "blender.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*start, "--python", str(script), "--", json.dumps(request)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> WindowBlender:
        try:
            self.wait_for(lambda state: state["ready"], START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def state(self) -> dict | None:
        """The last state that Blender wrote, or None before the first."""
        try:
            return json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return None

    def wait_for(self, reached: Callable[[dict], object], seconds: float = ANSWER_SECONDS) -> dict:
        """The first state for which `reached` is true; fails after some seconds or if Blender ends."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state()
            if state is not None and reached(state):
                return state
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                raise AssertionError(f"Blender did not get there. It said: {state}\nIts log ends:\n{tail}")
            time.sleep(0.05)

    def xdotool(self, *arguments: object) -> None:
        """Move the mouse, press buttons and keys."""
        subprocess.run(["xdotool", *map(str, arguments)], env=self.environment, check=True)

    def focus(self, is_own: bool) -> None:
        """Give the keyboard's focus to Blender's window, or to the screen behind it, and wait until Blender knows."""
        wanted = ("--onlyvisible", "--name", "Blender") if is_own else ("--maxdepth", "0", "--name", "")
        answer = subprocess.run(
            ["xdotool", "search", *wanted], env=self.environment, check=True, capture_output=True, text=True
        )
        self.xdotool("windowfocus", answer.stdout.split()[0])
        self.wait_for(lambda state: state["focus"] is is_own)

    def next_state(self) -> dict:
        """A state written after now."""
        state = self.state()
        count = state["count"] if state is not None else 0
        return self.wait_for(lambda newer: newer["count"] > count + 1)

    def find_button(self, operator: str, arguments: str = "") -> tuple[int, int]:
        """Where on the screen the button of an operator (such as "pbrfit.optimize", which may need some arguments) is.

        The mouse goes down the sidebar until Blender says that it is over that button.
        """
        sidebar = self.next_state()["sidebar"]
        top = self.screen[1] - (sidebar["y"] + sidebar["height"])
        for part in (0.3, 0.7):  # some rows hold two buttons
            x = sidebar["x"] + int(part * sidebar["width"])
            found = []
            for y in range(top + HOVER_STEP, top + sidebar["height"], HOVER_STEP):
                self.xdotool("mousemove", x, y)
                if self.next_state()["hovered"].startswith(f"bpy.ops.{operator}({arguments}"):
                    found.append(y)
                elif found:
                    return x, found[len(found) // 2]
        raise AssertionError(f"no button of {operator} in the sidebar")

    def click(self, operator: str, arguments: str = "") -> None:
        """Click the button of an operator."""
        x, y = self.find_button(operator, arguments)
        self.xdotool("mousemove", x, y)
        self.next_state()
        self.xdotool("click", 1)

    def drag(self, start: tuple[int, int], steps: list[tuple[int, int]], button: int = 2) -> None:
        """Press a mouse button, move by each of the steps, and release it."""
        self.xdotool("mousemove", *start, "mousedown", button)
        for x, y in steps:
            self.xdotool("mousemove_relative", "--", x, y)
            self.next_state()
        self.xdotool("mouseup", button)

    def search(self, words: str, place: tuple[int, int], picture: Path | None = None) -> None:
        """Run the first operator that Blender's search (F3) finds for some words, with the mouse at a place; its list as a
        picture."""
        self.xdotool("mousemove", *place)
        self.next_state()
        self.xdotool("key", "F3")
        self.next_state()
        self.xdotool("type", "--delay", "60", words)
        self.next_state()
        if picture is not None:
            self.screenshot(picture)
        self.xdotool("key", "Return")

    def open_file(self) -> None:
        """Make Blender open the test's file again, without the file browser."""
        Path(f"{self.state_file}.open").touch()

    def set_preview(self, **settings: object) -> None:
        """Set settings of the preview by name; `second_view=True` splits the view in two."""
        part = Path(f"{self.state_file}.preview.part")
        part.write_text(json.dumps(settings))
        part.replace(f"{self.state_file}.preview")
        self.next_state()

    def screenshot(self, path: Path) -> None:
        """Save what the display shows."""
        subprocess.run(["import", "-window", "root", str(path)], env=self.environment, check=True)
