# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts of the command line share that run alone in a Blender: their arguments, their stdout, and their end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

import bpy


def own_stdout() -> TextIO:
    """Keep stdout for our lines and send what Blender prints to stderr; its buffered lines would cut into ours."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return ours


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Call `main` with the script's own arguments, and end this process with the status that it returns."""
    status = main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
    sys.stderr.flush()
    # Some versions of Blender hang or crash when Python shuts down; the work is done by now.
    shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
    os._exit(status)
