"""The commands that a batch can repeat, by their names on the command line."""

from __future__ import annotations

import argparse
from typing import Any

from backend.cli.bake import bake
from backend.cli.batch_plan import BatchCommand
from backend.cli.driving import DriveRequest, Host
from backend.cli.fit_arguments import add_bake_arguments, add_optimize_arguments
from backend.cli.fit_requests import bake_request, optimize_request
from backend.cli.optimize import optimize
from backend.cli.terminal import Progress


def _optimize(request: DriveRequest, chosen: argparse.Namespace, progress: Progress, host: Host) -> dict[str, Any]:
    return optimize(request, progress, not chosen.no_report, host)


def _bake(request: DriveRequest, _chosen: argparse.Namespace, progress: Progress, host: Host) -> dict[str, Any]:
    return bake(request, progress, host)


COMMANDS = {
    "optimize": BatchCommand("optimize", add_optimize_arguments, optimize_request, _optimize, needs_backend=True),
    "bake": BatchCommand("bake", add_bake_arguments, bake_request, _bake, needs_backend=False),
}
