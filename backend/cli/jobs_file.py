"""Files of jobs: TOML with a table ``defaults`` and a list of ``jobs``; docs/batch.md describes them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.cli.batch_arguments import SELECTION
from backend.cli.batch_jobs import Selection, folder_of_each
from backend.cli.command_options import CommandOptions, OptionError, nearest
from backend.cli.errors import CommandError
from backend.protocol.map_layouts import LAYOUTS

DEFAULTS, JOBS = "defaults", "jobs"
EXAMPLE = 'It has lines such as [[jobs]], blend = "chair.blend", object = "Chair" and out = "fitted/chair".'


def read_jobs(path: Path, options: CommandOptions, given: Mapping[str, Any], out: Path | None) -> list[Selection]:
    """The jobs of a file. Paths in it are relative to its folder.

    given: options of the command line, by the names of the attributes, which come before those of the file; out: its folder
    for the results, likewise. Raises CommandError, which names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors may begin a file with a mark
        content = tomllib.loads(text)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.", "Give --jobs the path of a file of jobs."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is not TOML: {error}.", "Correct it there.") from error
    return list(_JobsFile(path, text, options).selections(content, given, out))


class _JobsFile:
    def __init__(self, path: Path, text: str, options: CommandOptions) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._options = options

    def selections(self, content: dict[str, Any], given: Mapping[str, Any], out: Path | None) -> Iterator[Selection]:
        for key in content:
            if key not in (DEFAULTS, JOBS):
                raise self._error(f'there is no key "{key}"{nearest(key, (DEFAULTS, JOBS))}', "", key)
        defaults, jobs = content.get(DEFAULTS, {}), content.get(JOBS)
        if not isinstance(defaults, dict):
            raise self._error(f'"{DEFAULTS}" is a table, which begins with a line [{DEFAULTS}]', "", DEFAULTS)
        if not isinstance(jobs, list) or not jobs or not all(isinstance(job, dict) for job in jobs):
            raise CommandError(f'{self._path} has no "{JOBS}", each of which begins with a line [[{JOBS}]].', EXAMPLE)
        self._parsed(defaults, DEFAULTS)
        for number, job in enumerate(jobs, 1):
            place = f"job {number}"
            self._parsed(job, place)
            stated = self._placed(self._parsed({**defaults, **job}, place))
            values = {**self._options.defaults, **stated, **given}
            for name in (*SELECTION, "run"):
                values.pop(name, None)
            selected = {**defaults, **job}
            blends, objects, collections = (
                self._names(selected, key, place) for key in ("blend", "object", "collection")
            )
            if not blends:
                raise self._error('"blend" is missing, the path of a .blend file', place)
            if not objects and not collections:
                raise self._error('"object" or "collection" is missing', place)
            files = self._files(blends, place)
            folder = self._folder(selected, "out" in job and len(files) == len(objects) == 1, place, out)
            for blend in files:
                yield Selection(blend, objects, collections, folder, values, f"{self._path}, {place}")

    def _parsed(self, table: dict[str, Any], place: str) -> dict[str, Any]:
        """The values of the command's options in a table."""
        names = (*SELECTION, *self._options.names)
        for key in table:
            if key not in names:
                raise self._error(f'there is no key "{key}"{nearest(key, names)}', place, key)
        try:
            return self._options.parse({key: value for key, value in table.items() if key not in SELECTION})
        except OptionError as error:
            raise self._error(str(error), place, error.name) from error

    def _placed(self, values: dict[str, Any]) -> dict[str, Any]:
        """The same, with paths as seen from the folder of the file of jobs."""
        folder, maps, blender = self._path.parent, values.get("start_maps"), values.get("blender")
        if maps is not None:
            values["start_maps"] = folder / maps
        for name in ("layout", "start_layout"):
            if values.get(name) is not None and values[name] not in LAYOUTS:
                values[name] = str(folder / values[name])
        if blender is not None and os.path.dirname(blender):  # else it is a program that the system finds
            values["blender"] = str(folder / blender)
        return values

    def _names(self, table: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
        value = table.get(key, [])
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise self._error(f'"{key}" is a text or a list of texts', place, key)
        return tuple(names)

    def _files(self, blends: tuple[str, ...], where: str) -> list[Path]:
        """The files, in order; a pattern stands for those that there are. One that is missing is a job that fails."""
        folder, found = self._path.parent, list[Path]()
        for blend in blends:
            place, matches = Path(blend), list[Path]()
            if re.search(r"[*?]", blend) and not (folder / blend).exists():
                start = Path(place.anchor) if place.is_absolute() else folder
                try:
                    matches = sorted(start.glob(str(place.relative_to(place.anchor))))
                except ValueError as error:  # "**" beside letters
                    raise self._error(f'"{blend}" is no pattern: {error}', where, "blend") from error
            found += matches or [folder / blend]
        return list(dict.fromkeys(found))

    def _folder(self, table: dict[str, Any], one: bool, place: str, out: Path | None) -> str:
        value = table.get("out") if out is None else str(out)
        if not isinstance(value, str) or not value.strip():
            raise self._error('"out" is missing, the folder for the result', place, "out")
        return folder_of_each(value if out is not None else str(self._path.parent / value), one and out is None)

    def _error(self, cause: str, place: str, key: str = "") -> CommandError:
        line = self._line(place, key)
        where = ", ".join([str(self._path), *([f"line {line}"] if line else []), *([place] if place else [])])
        return CommandError(f"{where}: {cause}.", "Correct it there; docs/batch.md lists what a file of jobs may have.")

    def _line(self, place: str, key: str) -> int | None:
        """The number of the line that has a key, or else that begins its table; None where that is not found."""
        table, number, start = "", 0, None
        for at, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[+\s*([\w-]+)\s*\]+", line)
            if header is not None:
                number += header[1] == JOBS
                table = f"job {number}" if header[1] == JOBS else header[1]
                start = at if table == place else start
                if not place and header[1] == key:
                    return at
            elif table == place and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return at
        return start
