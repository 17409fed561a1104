# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a Python to make an environment with: one of the system, or else Blender's own, which does not change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import PbrFitError
from ..common.processes import NO_WINDOW, clean_environment

OLDEST = (3, 11)
# Torch supports these on every system. Others are used only if none of these is found.
PREFERRED = ((3, 12), (3, 13), (3, 11), (3, 14))
PROBE_SECONDS = 20.0
PROBE = (
    "import importlib.util, json, struct, sys; print(json.dumps({'version': list(sys.version_info[:3]), "
    "'bits': struct.calcsize('P') * 8, "
    "'venv': all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip', 'ssl'))}))"
)


@dataclass(frozen=True)
class SystemPython:
    """A Python that can make environments."""

    path: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} ({self.path})"


def find_python(wanted: str, directory: Path) -> SystemPython:
    """The Python to make an environment with; `wanted`: the one that the user chose, or empty. Slow: it runs programs.

    directory: for the temporary files of these programs. Raises PbrFitError if there is no usable Python.
    """
    if wanted:
        found = probe(wanted, directory)
        if isinstance(found, str):
            cure = "Choose another one, or leave the field empty to have one found."
            raise PbrFitError(f'The Python "{wanted}" {found}.', cure)
        return found
    pythons: dict[tuple[int, int], SystemPython] = {}
    for candidate in candidates():
        found = probe(candidate, directory)
        if isinstance(found, SystemPython):
            pythons.setdefault(found.version[:2], found)
            if found.version[:2] == PREFERRED[0]:
                return found
    for version in (*PREFERRED, *sorted(pythons)):
        if version in pythons:
            return pythons[version]
    own = probe(sys.executable, directory)
    if isinstance(own, SystemPython):
        return own
    raise PbrFitError(
        "No Python 3.11 or newer on this machine can make an environment, and Blender's own cannot either.",
        "Install Python 3.12 from python.org (on Debian and Ubuntu: sudo apt install python3-venv), then set up again.",
    )


def probe(python: str, directory: Path) -> SystemPython | str:
    """A usable Python, or the end of a sentence that says why the program is none."""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
            env=clean_environment(directory),
            creationflags=NO_WINDOW,
        )
        told = json.loads(answer.stdout)
        version, bits, whole = tuple(told["version"]), told["bits"], told["venv"]
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return "is no Python that runs"  # such as a shim without its version, or the link to Windows' store
    if version[:2] < OLDEST:
        return f"is {'.'.join(map(str, version))}; 3.11 or newer is needed"
    if bits != 64:
        return "is a 32-bit Python; torch needs 64 bits"
    if not whole:
        return "cannot make environments: it lacks venv, ensurepip or ssl (on Debian and Ubuntu: python3-venv)"
    return SystemPython(python, version)


def candidates() -> Iterator[str]:
    """Programs that may be a usable Python, the most likely first; each once, and only those that exist.

    A Blender that was started from a desktop has a short search path, so this also searches the usual folders.
    """
    seen: set[str] = set()
    for path in _places():
        found = shutil.which(path)
        # Blender's own comes last: an environment made with it breaks when that Blender is removed.
        if found is not None and found not in seen and not _same_file(found, sys.executable):
            seen.add(found)
            yield found


def _places() -> Iterator[str]:
    names = [f"python{major}.{minor}" for major, minor in PREFERRED] + ["python3", "python"]
    yield from names
    home = Path.home()
    if sys.platform == "win32":
        roots = [os.environ.get("LOCALAPPDATA", "") + "/Programs/Python", os.environ.get("PROGRAMFILES", ""), "C:/"]
        for root in roots:
            for folder in sorted(Path(root).glob("Python3*"), reverse=True) if root else []:
                yield str(folder / "python.exe")
        return
    for folder in ("/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"):
        yield from (f"{folder}/{name}" for name in names)
    for pattern in (".pyenv/versions/3.*/bin/python3", ".local/share/uv/python/cpython-3.*/bin/python3"):
        yield from sorted(map(str, home.glob(pattern)), reverse=True)
    if sys.platform == "darwin":
        frameworks = Path("/Library/Frameworks/Python.framework/Versions")
        yield from (str(frameworks / f"{major}.{minor}" / "bin" / "python3") for major, minor in PREFERRED)


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False
