"""What a batch has to do: each object of each selection, with its request, and why it is to be done or not."""

from __future__ import annotations

import argparse
import contextlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backend.cli.arguments import check_path
from backend.cli.batch_arguments import check_selection
from backend.cli.batch_jobs import FileObject, Folders, Job, Selection, folder_of_each
from backend.cli.batch_table import CHANGED, NEW, REFUSED, UNKNOWN, UP_TO_DATE, Row
from backend.cli.command_options import CommandOptions, OptionError
from backend.cli.driving import DriveRequest, Host, check_file, may_be_replaced
from backend.cli.errors import CommandError, Interrupted
from backend.cli.inputs import NO_RESULT, reasons_text, why_again
from backend.cli.jobs_file import read_jobs
from backend.cli.object_lists import known_objects
from backend.cli.result_folder import read_report
from backend.cli.staged_folder import StagedFolder
from backend.cli.terminal import Progress

TO_DO = (NEW, CHANGED, UNKNOWN)
"""What a row says before its object is done."""

Carry = Callable[[DriveRequest, argparse.Namespace, Progress, Host], dict[str, Any]]


@dataclass(frozen=True)
class BatchCommand:
    """The command that a batch repeats.

    name: on the command line; add_arguments: gives a parser its arguments; request: what to do for one object, from the
    options; carry_out: does it, and returns the content of report.json; needs_backend: whether it does so with a backend.
    """

    name: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    request: Callable[[argparse.Namespace], DriveRequest]
    carry_out: Carry
    needs_backend: bool


@dataclass(frozen=True)
class Planned:
    """An object with its row in the table. job, request: None where nobody knows yet what objects there are, or it is refused."""

    row: Row
    job: Job | None = None
    request: DriveRequest | None = None


def selections_of(chosen: argparse.Namespace, command: BatchCommand) -> list[Selection]:
    """What a command line selects, by itself or by a file of jobs. Raises CommandError for anything wrong in what it says."""
    if chosen.jobs is None:
        check_selection(chosen)
        names = tuple(chosen.object or ())
        one = len(chosen.blend) == len(names) == 1 and not chosen.collection
        first = Selection(chosen.blend[0], names, tuple(chosen.collection or ()), "", vars(chosen))
        folder = folder_of_each(str(chosen.out), one and first.is_known)
        values = {
            name: value for name, value in vars(chosen).items() if name not in ("blend", "object", "collection", "out")
        }
        selections = [
            Selection(blend, names, first.collections, folder, values) for blend in dict.fromkeys(chosen.blend)
        ]
    else:
        if chosen.blend or chosen.object or chosen.collection:
            raise CommandError(
                "There are a file of jobs and objects beside it.",
                "Name the files and objects in the file of jobs alone.",
            )
        options = CommandOptions(command.add_arguments)
        try:
            given = options.given(chosen.arguments[1:])
        except OptionError as error:
            raise CommandError(f"{error}.", f"See `pbrfit {command.name} --help`.") from error
        selections = read_jobs(chosen.jobs, options, given, chosen.out)
    selections = checked(selections, command)
    return [replace(selection, number=number, part=chosen.part) for number, selection in enumerate(selections)]


def checked(selections: Sequence[Selection], command: BatchCommand) -> list[Selection]:
    """The same. Raises CommandError for settings that the command refuses, whatever the file."""
    for selection in selections:
        try:
            command.request(argparse.Namespace(**selection.options, blend=selection.blend, object="", out=Path()))
        except CommandError as error:
            raise CommandError(
                f"{selection.source}: {error.cause}" if selection.source else error.cause, error.cure
            ) from error
    return list(selections)


def plan(
    selection: Selection, command: BatchCommand, force: bool, objects: Sequence[FileObject] | None = None
) -> list[Planned]:
    """What to do about each object of a selection. Starts nothing, and changes no file.

    force: whether what is up to date is done again; objects: of the file, if that was looked up.
    """
    try:
        check_path(selection.blend)
        check_file(selection.blend)
        if objects is None and not selection.is_known:
            objects = known_objects(selection.root, selection.blend)
            if objects is None:
                return [Planned(Row(selection.blend, selection.asked, UNKNOWN, why="its objects are not known yet"))]
        jobs = selection.jobs(objects)
    except CommandError as error:
        names = selection.objects if selection.is_known else (selection.asked,)
        return [refused(Row(selection.blend, name, REFUSED), error) for name in names]
    return [_planned(job, command, force) for job in jobs]


def plan_found(
    selection: Selection, command: BatchCommand, force: bool, objects: Sequence[FileObject], folders: Folders
) -> list[Planned]:
    """What to do about each object of a file that was looked into. ``folders``: that other jobs have; they take theirs."""
    return [_unless_taken(planned, folders) for planned in plan(selection, command, force, objects)]


def make(
    command: BatchCommand, request: DriveRequest, chosen: argparse.Namespace, progress: Progress, host: Host
) -> dict[str, Any]:
    """Make the result of one job, whole or not at all; returns the content of its report.json.

    chosen: the job's options. Raises CommandError, also for what nobody foresaw, or Interrupted.
    """
    try:
        with StagedFolder(request) as staged:
            report = command.carry_out(staged.request, chosen, progress, host)
            staged.publish(report)
        return report
    except (CommandError, Interrupted):
        raise
    except OSError as error:
        raise CommandError(
            f"{error.filename or request.out}: {error.strerror}.", "Make room, or choose another folder."
        ) from error
    except Exception as error:
        cause = f"PBRfit could not do it: {type(error).__name__}: {error}.\n{traceback.format_exc()}"
        raise CommandError(cause, "Please report it.") from error


def refused(row: Row, error: CommandError) -> Planned:
    """What cannot be done, and why."""
    row.status, row.why, row.cause, row.cure = REFUSED, "", error.cause, error.cure
    return Planned(row)


def known_jobs(plans: Iterable[Sequence[Planned]]) -> list[Job]:
    """All jobs of plans."""
    return [planned.job for one in plans for planned in one if planned.job is not None]


def _unless_taken(planned: Planned, folders: Folders) -> Planned:
    """The same, or refused where another job has its folder."""
    if planned.job is not None:
        try:
            folders.take(planned.job)
        except CommandError as error:
            return refused(planned.row, error)
    return planned


def _planned(job: Job, command: BatchCommand, force: bool) -> Planned:
    row = Row(job.blend, job.object_name, NEW, job.out)
    request = command.request(job.chosen)
    folder = request.result.parent
    reasons = why_again(request)
    try:
        if request.result == job.blend.resolve():
            raise CommandError(f"The result would overwrite {job.blend}.", "Give --out another folder.")
        if folder.is_dir():
            if reasons or force:
                may_be_replaced(request)
        elif folder.exists():
            raise CommandError(f"{folder} is a file, not a folder.", "Give --out another folder.")
    except (CommandError, OSError) as error:
        unreadable = CommandError(f"{folder} cannot be read: {error}.", "Give --out another folder.")
        return refused(row, error if isinstance(error, CommandError) else unreadable)
    if not reasons:
        row.status = UP_TO_DATE
        with contextlib.suppress(AttributeError, KeyError, TypeError):  # somebody has changed it
            row.take_report(read_report(folder))
        if force:
            row.status, row.why = CHANGED, "--force"
    elif reasons != [NO_RESULT]:
        row.status, row.why = CHANGED, reasons_text(reasons)
    return Planned(row, job, request)
