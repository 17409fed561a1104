"""``pbrfit farm``: a file of jobs, each object a task of Ray, on this machine or on a cluster."""

from __future__ import annotations

import argparse
import importlib.util

from backend.cli.batch import Work, run_batch
from backend.cli.batch_commands import COMMANDS
from backend.cli.batch_log import EventLog
from backend.cli.batch_plan import BatchCommand, checked
from backend.cli.command_options import CommandOptions
from backend.cli.errors import CommandError
from backend.cli.farm_ray import Room
from backend.cli.farm_work import FarmWork
from backend.cli.jobs_file import read_jobs
from backend.cli.terminal import Progress

FIT_CPUS, BAKE_CPUS = 4.0, 1.0
"""A bake works on one core most of the time, Cycles and a fit on as many as they may."""
GIB = 1 << 30


def farm(chosen: argparse.Namespace) -> int:
    """Carry out the command; the exit status. Raises CommandError for what is wrong before anything starts."""
    if not chosen.dry_run and importlib.util.find_spec("ray") is None:
        raise CommandError(
            "Ray is not installed.", "Install it with `pip install '.[farm]'`, on each machine of a cluster."
        )
    if chosen.address is not None and chosen.workers is not None:
        raise CommandError(
            "--workers is for Ray on this machine alone; a cluster has as many as its machines have room for.",
            "Leave out --workers, or --address.",
        )
    command = COMMANDS[chosen.command]
    options = CommandOptions(command.add_arguments)
    selections = checked(read_jobs(chosen.jobs, options, {}, None), command)
    return run_batch(chosen, command, selections, _on_ray)


def _on_ray(chosen: argparse.Namespace, command: BatchCommand, log: EventLog, shown: Progress) -> Work:
    fits = command.needs_backend
    cpus = chosen.cpus or (FIT_CPUS if fits else BAKE_CPUS)
    gpus = chosen.gpus if chosen.gpus is not None or fits else 0.0
    room = Room(cpus, gpus, int(chosen.memory * GIB), chosen.address, chosen.workers)
    return FarmWork(command, log, shown, room, chosen.retries, chosen.waiting, chosen.stop_at_first_error, chosen.force)
