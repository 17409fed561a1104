"""The jobs of a batch: one object of one file each, with the options and the folder of its result."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.cli.arguments import file_name
from backend.cli.batch_arguments import is_pattern
from backend.cli.errors import CommandError

FILE, OBJECT = "{file}", "{object}"
"""What stands in a folder's name for the file's name without its ending, and for the object's."""


@dataclass(frozen=True)
class FileObject:
    """A mesh object of a file, and the names of all collections that it is in."""

    name: str
    collections: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One result. ``chosen``: the options of the command, with this file, object and folder in them."""

    blend: Path
    object_name: str
    out: Path
    chosen: argparse.Namespace

    @property
    def where(self) -> Path:
        """The folder of the result, without links; one that links to itself stays as it is."""
        return Path(os.path.realpath(self.out))


@dataclass(frozen=True)
class Selection:
    """Objects of one file: by name, by a pattern with * and ?, and by collection; an object that any of these names is in.

    ``out``: the folder of each result, in which FILE and OBJECT stand for names; ``options``: of the command, by the names
    of its attributes; ``source``: where it was said, for messages; empty on the command line; ``number``: among all
    selections; ``part``: (n, m) for the nth of m equal parts of all objects, or None for all.
    """

    blend: Path
    objects: tuple[str, ...]
    collections: tuple[str, ...]
    out: str
    options: dict[str, Any]
    source: str = ""
    number: int = 0
    part: tuple[int, int] | None = None

    @property
    def is_known(self) -> bool:
        """Whether the names of the objects are said, so that nobody has to look into the file."""
        return not self.collections and not any(is_pattern(name) for name in self.objects)

    @property
    def asked(self) -> str:
        """What it asks for, for a person."""
        return ", ".join([*self.objects, *(f"collection {name}" for name in self.collections)])

    @property
    def root(self) -> Path:
        """The part of the folders' name that is the same for all results."""
        parts = Path(self.out).parts
        fixed = next((number for number, part in enumerate(parts) if FILE in part or OBJECT in part), len(parts))
        return Path(*parts[:fixed]) if fixed else Path()

    def jobs(self, objects: Sequence[FileObject] | None = None) -> list[Job]:
        """The jobs. ``objects``: of the file, unless `is_known`. Raises CommandError where one of the names is none."""
        if objects is None:
            return self._jobs(self.objects)
        names: list[str] = []
        for name in self.objects:
            found = matching(name, (item.name for item in objects))
            if not found:
                raise self._nothing("object", name, [item.name for item in objects])
            names += found
        for name in self.collections:
            known = list(dict.fromkeys(one for item in objects for one in item.collections))
            wanted = set(matching(name, known))
            if not wanted:
                raise self._nothing("collection", name, known)
            names += [item.name for item in objects if wanted.intersection(item.collections)]
        return self._jobs(names)

    def _jobs(self, names: Iterable[str]) -> list[Job]:
        """A job for each name that is in the part; each selection begins with another part, so that all get as many."""
        which, parts = self.part or (1, 1)
        numbered = enumerate(dict.fromkeys(names), self.number)
        return [self._job(name) for number, name in numbered if number % parts == which - 1]

    def _job(self, name: str) -> Job:
        stands_for = {FILE: file_name(self.blend.stem), OBJECT: file_name(name)}
        out = Path(re.sub(r"\{(file|object)\}", lambda found: stands_for[found[0]], self.out))
        return Job(
            self.blend,
            name,
            out,
            argparse.Namespace(**self.options, blend=self.blend, object=name, out=out, collection=None),
        )

    def _nothing(self, kind: str, name: str, names: Sequence[str]) -> CommandError:
        near = difflib.get_close_matches(name, names, n=3)
        shown = ", ".join(sorted(near or sorted(names)[:10]))
        return CommandError(
            f'{self.blend} has no {kind} "{name}" with a mesh and a material.',
            f"Give one that it has: {shown}." if shown else "Open the file in Blender, and see what is in it.",
        )


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern stands for; a name itself comes before what it may stand for as a pattern."""
    names = list(names)
    if pattern in names:
        return [pattern]
    return [name for name in names if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))]


def folder_of_each(out: str, one: bool) -> str:
    """The folder of each result, with what stands for names. one: whether the folder is for one object of one file."""
    if one or OBJECT in out:
        return out
    return f"{out}/{OBJECT}" if FILE in out else f"{out}/{FILE}/{OBJECT}"


class Folders:
    """The folders that jobs have; no two have the same."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        """With those of ``jobs``. Raises CommandError, as `take` does."""
        self._taken: dict[Path, Job] = {}
        for job in jobs:
            self.take(job)

    def take(self, job: Job) -> None:
        """Take the folder of a job. Raises CommandError where another job has it."""
        other = self._taken.setdefault(job.where, job)
        if other is not job:
            raise CommandError(
                f'{job.out} would have two results: of "{other.object_name}" of {other.blend} and of "{job.object_name}" '
                f"of {job.blend}.",
                f"Give one of them another folder; {FILE} and {OBJECT} in a folder's name stand for the names.",
            )
