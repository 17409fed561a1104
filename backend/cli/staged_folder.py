"""A result is made in a folder beside its place, and comes there when it is whole: half of one is never seen."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.cli.driving import DriveRequest, may_be_replaced, output_folder
from backend.cli.errors import CommandError
from backend.cli.result_folder import REPORT, TEXTURES, write_report

UNFINISHED = "unfinished"
LONGEST_NAME = 80
"""In bytes: a longer name stands as a hash in that of the folder beside it, which would be too long for a file system."""


class StagedFolder:
    """The folder in which one result is made; use it with ``with``, which removes what did not become a result.

    It is beside the result's own, so that paths in the .blend relative to the file stay right when it moves.
    """

    def __init__(self, request: DriveRequest) -> None:
        """``request``: with the folder of the result. Raises CommandError where that may not be written."""
        self._request = request
        self._out = request.result.parent
        name = self._out.name
        if len(name.encode()) > LONGEST_NAME:
            name = hashlib.sha256(name.encode()).hexdigest()[:16]
        self._start = f".{name}.{UNFINISHED}-{platform.node()}-"
        self.folder = self._out.parent / f"{self._start}{os.getpid()}"
        self._placeholders: list[Path] = []
        self._made = not self._out.exists()
        output_folder(request)

    @property
    def request(self) -> DriveRequest:
        """The same, with the folder in which the result is made."""
        return replace(self._request, out=self.folder)

    def __enter__(self) -> StagedFolder:
        for left in self._out.parent.glob(f"{glob.escape(self._start)}*"):
            if not lives(left.name.rpartition("-")[2]):
                shutil.rmtree(left, ignore_errors=True)
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._keep_names_of_textures()
        except OSError as error:
            raise CommandError(
                f"{self.folder} cannot be made: {error.strerror}.", "Give --out another folder."
            ) from error
        return self

    def __exit__(self, *_error: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._made:
            with contextlib.suppress(OSError):  # it has a result
                self._out.rmdir()

    def publish(self, report: dict[str, Any]) -> None:
        """Put the finished result in its place, instead of an earlier one. ``report``: the content of its report.json.

        Raises CommandError where something else has come there since, or where the .blend uses what would be replaced.
        """
        before = may_be_replaced(self._request)
        inputs = report.get("inputs") or {}
        used = {one["path"] for one in inputs.get("files", ())[1:]}
        for name in before:
            if str((self._out / name).resolve()) in used:
                raise CommandError(
                    f"{self._request.blend} uses {self._out / name}, which the result would overwrite.",
                    "Give --out another folder.",
                )
        foreign = [name for name in report["files"] if name not in before and os.path.lexists(self._out / name)]
        if foreign:
            raise CommandError(
                f"{self._out / foreign[0]} is there, and no earlier result wrote it.", "Give --out another folder."
            )
        for placeholder in self._placeholders:
            placeholder.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self.folder / TEXTURES).rmdir()
        try:
            if not any(self._out.iterdir()):
                self._out.rmdir()
                self.folder.rename(self._out)
            else:
                self._replace(before, report["files"])
        except OSError as error:
            raise CommandError(
                f"{self._out} cannot be written to: {error.strerror}.", "Give --out another folder."
            ) from error

    def _replace(self, before: Sequence[str], files: Sequence[str]) -> None:
        """Move the result's files over those of the earlier one. The report comes last: until then there is one that only
        says whose all these files are, so that the result counts as unfinished and may be replaced."""
        claim = {**self._request.owner.as_json(), "files": sorted({*before, *files})}
        write_report(self._out, claim)
        for name in set(before) - set(files):
            if not name.startswith(f"{TEXTURES}/"):  # which an artist may use
                _remove(self._out / name)
        for name in sorted(files, key=lambda name: name == REPORT):
            (self._out / name).parent.mkdir(exist_ok=True)
            if (self.folder / name).is_dir():
                _remove(self._out / name)
            os.replace(self.folder / name, self._out / name)

    def _keep_names_of_textures(self) -> None:
        """Take the names that the folder of textures has, so that new ones get others, as they would there."""
        if (self._out / TEXTURES).is_dir():
            (self.folder / TEXTURES).mkdir()
            self._placeholders = [self.folder / TEXTURES / one.name for one in (self._out / TEXTURES).iterdir()]
            for placeholder in self._placeholders:
                placeholder.touch()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def lives(process: str) -> bool:
    """Whether a process of this machine lives, and is another; where that cannot be known, it counts as living."""
    if sys.platform == "win32" or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return int(process) != os.getpid()
