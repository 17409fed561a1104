"""How much the server takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """How much the server takes on, of all clients together. `backend.server.sharing` says how much of it one key may have.

    store_bytes: the arrays of all jobs and scenes, and those kept for the next ones. view_bytes: images of jobs that the fit
    has not taken yet. live_jobs: queued, uploading and running together. kept_outcomes: finished jobs that no client has
    acknowledged; outcome_bytes: their files; the oldest of the key that has the most go first; outcome_s: after so long each
    of them goes. kept_bytes: arrays and views on disk, where checkpoints are. scenes: sessions that see a
    preview. picture_bytes: frames that were asked for and whose client does not have them yet. sessions: of all keys,
    key_sessions: of one. silence_s: after so long without a message from its client, a job fails that still waits for
    arrays, for views or to be resumed, so that the next job gets its turn; and where all clients of a key are silent for so
    long, the arrays that no job needs are dropped.
    """

    store_bytes: int = 4 << 30
    view_bytes: int = 4 << 30
    live_jobs: int = 128
    kept_outcomes: int = 128
    outcome_bytes: int = 4 << 30
    outcome_s: float = 24 * 3600.0
    kept_bytes: int = 4 << 30
    scenes: int = 64
    picture_bytes: int = 4 << 30
    sessions: int = 1024
    key_sessions: int = 64
    silence_s: float = 60.0
