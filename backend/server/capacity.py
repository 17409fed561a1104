"""How much the server takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """How much the server takes on.

    store_bytes: the arrays of all jobs and those kept for the next ones. view_bytes: images of one job that the fit has
    not taken yet. live_jobs: queued, uploading and running together. kept_outcomes: finished jobs that no client has
    acknowledged; outcome_bytes: their files; the oldest go first. silence_s: after so long without a message from its
    client, a job fails that still waits for arrays, for views or to be resumed, so that the next job gets its turn.
    """

    store_bytes: int = 4 << 30
    view_bytes: int = 4 << 30
    live_jobs: int = 32
    kept_outcomes: int = 32
    outcome_bytes: int = 4 << 30
    silence_s: float = 300.0
