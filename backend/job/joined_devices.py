"""A job on several devices at once: the process that runs it leads a team, and starts the others."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from backend.fit.shared_fit import follow
from backend.fit.team import Team
from backend.job.model import FitInputs, FitResult, IsCancelled, JobCancelled, JobError, ReportProgress, RunJob
from backend.job.run import run_fit_job
from backend.protocol.settings import FitSettings

# For a process to import PyTorch and join; and for one to wait in a sum for the others, which may still compile kernels.
_JOIN_S, _SUM_S = 120, 600
_LOST_TEAM = 4
# Nothing listens beyond this machine: where gloo and NCCL open sockets for their own use.
_LOCAL = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}

logger = logging.getLogger(__name__)


class JoinedDevices:
    """Runs jobs on `size` devices: GPUs 0 to size - 1 that this process sees, or as many processes on the processor.

    The others start at once and join for the first job. Where one of them ends, this process ends too, so that whoever watches
    it starts all of them anew.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lost = size, _end_with_the_team
        self._on_gpu = torch.cuda.is_available()
        self._team: Team | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="pbrfit_team_"))
        os.environ.update(_LOCAL)
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._others: list[BaseProcess] = []
        for rank in range(1, size):
            own, other = context.Pipe()
            process = context.Process(target=_join_and_follow, args=(rank, size, str(self._store), other), daemon=True)
            process.start()
            other.close()
            self._pipes.append(own)
            self._others.append(process)
        threading.Thread(target=self._watch, name="pbrfit-team", daemon=True).start()

    @property
    def _store(self) -> Path:
        return self._folder / "store"

    def team(self) -> Team:
        """The team; the first call waits until all have joined."""
        if self._team is None:
            self._team = Team(0, self._size, _joined(0, self._size, str(self._store)), self._pipes)
        return self._team

    def close(self) -> None:
        """End the others."""
        self._lost = lambda: None
        for pipe in self._pipes:
            pipe.close()
        for process in self._others:
            process.join()
        if self._team is not None:
            dist.destroy_process_group()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, inputs: FitInputs, settings: FitSettings, report: ReportProgress, cancelled: IsCancelled
    ) -> FitResult:
        """Run a job, as `backend.job.run.run_fit_job` does. Whatever else than `JobCancelled` and `JobError` it raises leaves the
        team out of step: then this process must end."""
        team = self.team()
        try:
            result = run_fit_job(inputs, settings, report, cancelled, team)
        except (JobCancelled, JobError):
            team.tell("rest")
            raise
        team.tell("rest")
        return result

    def _watch(self) -> None:
        wait([process.sentinel for process in self._others])
        self._lost()


def _end_with_the_team() -> None:
    logger.error("another process of the team has ended")
    os._exit(_LOST_TEAM)


def joined_job(size: int) -> RunJob:
    """A `RunJob` on `size` devices."""
    return JoinedDevices(size).run


def _joined(rank: int, size: int, store: str) -> torch.device:
    """Join the team, and return this process's device."""
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=_SUM_S),
    )
    return device


def _join_and_follow(rank: int, size: int, store: str, pipe: Any) -> None:
    """The program of another process of the team."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the server, which ends the leader
        signal.signal(number, signal.SIG_IGN)
    try:
        follow(Team(rank, size, _joined(rank, size, store), [pipe]))
    except RuntimeError:  # a sum with a leader that has gone meanwhile
        leader = multiprocessing.parent_process()
        if leader is not None and leader.is_alive():
            raise
    os._exit(0)  # the leader is gone: a sum on a GPU that waits for it would delay the end
