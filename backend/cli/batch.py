"""Many objects of many files: what is up to date is left, what fails costs only itself, and a table says what became of each."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from backend.cli.batch_arguments import STDOUT
from backend.cli.batch_jobs import Folders, Selection
from backend.cli.batch_log import EventLog
from backend.cli.batch_plan import BatchCommand, Planned, known_jobs, plan
from backend.cli.batch_table import BAD, Row, sum_text, table_text, write_table
from backend.cli.batch_work import BatchWork
from backend.cli.errors import CommandError
from backend.cli.openjd import OpenJobLines
from backend.cli.terminal import Progress, ProgressLine

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


class Work(Protocol):
    """Who does the jobs; `BatchWork` is one."""

    @property
    def interrupted(self) -> bool: ...

    def run(self, selections: Sequence[Selection], plans: list[list[Planned]]) -> list[Row]: ...


def here(chosen: argparse.Namespace, command: BatchCommand, log: EventLog, shown: Progress) -> Work:
    """The work in Blenders of this process."""
    return BatchWork(command, log, shown, chosen.at_once or 1, chosen.stop_at_first_error, chosen.force)


def run_batch(
    chosen: argparse.Namespace,
    command: BatchCommand,
    selections: Sequence[Selection],
    work_of: Callable[[argparse.Namespace, BatchCommand, EventLog, Progress], Work] = here,
) -> int:
    """Go through all jobs of the selections; the exit status. Raises CommandError for what is wrong before anything starts.

    work_of: who does what is to be done.
    """
    if chosen.openjd and chosen.log_json == STDOUT:
        raise CommandError("--openjd and --log-json - would mix their lines.", "Give --log-json a file.")
    began = time.monotonic()
    _check_outputs(chosen, selections)
    plans = [plan(selection, command, chosen.force) for selection in selections]
    Folders(known_jobs(plans))
    stream = sys.stderr if chosen.log_json == STDOUT else sys.stdout
    with EventLog(chosen.log_json, OpenJobLines().take if chosen.openjd else None) as log:
        log.write("start", command=command.name, dry_run=chosen.dry_run)
        for row in (one.row for planned in plans for one in planned):
            log.write("plan", **row.as_json())
        status = EXIT_DONE
        if chosen.dry_run:
            rows = [one.row for planned in plans for one in planned]
        else:
            shown = ProgressLine(stream)
            work = work_of(chosen, command, log, shown)
            try:
                rows = work.run(selections, plans)
            finally:
                shown.clear()
            status = EXIT_INTERRUPTED if work.interrupted else EXIT_DONE
        if any(row.status in BAD for row in rows):
            status = status or EXIT_FAILED
        seconds = time.monotonic() - began
        log.write("end", exit=status, seconds=round(seconds, 2), text=sum_text(rows, seconds))
    print(table_text(rows, seconds), file=stream)
    if log.failure:
        print(f"pbrfit: {log.failure}", file=sys.stderr)
    if chosen.table is not None:
        write_table(chosen.table, command.name, rows, status, seconds)
    return status


def _check_outputs(chosen: argparse.Namespace, selections: Sequence[Selection]) -> None:
    """Raise CommandError where the log or the table would overwrite what the batch reads."""
    layouts = [selection.options.get("layout") for selection in selections]
    read = {selection.blend for selection in selections} | {Path(layout) for layout in layouts if layout}
    read |= {chosen.jobs} if chosen.jobs is not None else set()
    known = {os.path.realpath(path) for path in read}
    for option, target in (("--log-json", chosen.log_json), ("--table", chosen.table)):
        if target not in (None, STDOUT) and os.path.realpath(target) in known:
            raise CommandError(f"{option} would overwrite {target}, which the batch reads.", "Give it another file.")
