# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts share that carry out a plan in a second Blender: see second_blender.py for what they say, and how."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

import bpy

from .errors import GpuFailed, PbrFitError

Json = dict[str, Any]
Work = Callable[[Json, Callable[[Json], None]], None]
"""Carries out a plan, and reports lines."""


def own_stdout() -> TextIO:
    """Keep stdout for our lines and send Blender's output to stderr, since its buffered lines would break ours."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return ours


def carry_out(work: Work, what: str, arguments: list[str]) -> int:
    """Carry out the plan named by the only argument, then those that it has as "plans".

    Lines of these have "plan" (1, 2, ...). what: the work, as the subject of a sentence. Returns 0: done, 1: error line
    printed, 2: usage, 3: nobody listens.
    """
    if len(arguments) != 1:
        print("usage: SCRIPT plan.json", file=sys.stderr)
        return 2
    stdout = own_stdout()

    def say(line: Json, number: int = 0) -> None:
        mark = {"plan": number} if number else {}
        print("PBRFIT " + json.dumps({**line, **mark}), file=stdout, flush=True)

    try:
        plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        for number, part in enumerate([plan, *plan.get("plans", [])]):
            work(part, partial(say, number=number))
        say({"done": True})
        return 0
    except BrokenPipeError:
        return 3
    except PbrFitError as error:
        gpu = {"gpu": True} if isinstance(error, GpuFailed) else {}
        say({"error": {"cause": error.cause, "cure": error.cure, **gpu}})
    except Exception as error:
        cause = f"{what} failed: {type(error).__name__}: {error}"
        say({"error": {"cause": cause, "cure": "Look at the log of the windowless Blender for what happened before."}})
    return 1


def end_with_input() -> None:
    """End this process at once when its input ends, if that is a pipe, as it does when the Blender that started it is gone.

    A pass of a bake can take minutes, in which nothing is printed that would tell.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def wait() -> None:
        while os.read(0, 4096):
            pass
        shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
        os._exit(3)

    threading.Thread(target=wait, name="PBRfit end", daemon=True).start()


def run(work: Work, what: str) -> NoReturn:
    """Carry out the plan that the script's own argument names, and end this process.

    It ends early if its input is a pipe that ends.
    """
    end_with_input()
    status = carry_out(work, what, sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
    sys.stderr.flush()
    # The work is done, and some versions of Blender hang or crash when Python ends.
    shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
    os._exit(status)
