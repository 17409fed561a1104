# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session does while its backend is out of reach, and when it is back without the job."""

from __future__ import annotations

from dataclasses import replace

from .backend_link import BackendLink, BackendLost
from .session_status import FITTING, RENDERING, SessionStatus

TRYING_AGAIN = "The backend does not answer; trying again"
# How often a fit is begun again by itself, where the backend is there and has forgotten its job.
MOST_BEGUN_AGAIN = 3


class Recovery:
    """Of one session. job: the backend's job to attach to when the fit goes on; empty: begin it again."""

    def __init__(self) -> None:
        self.job = ""
        self._message = ""
        self._begun_again = 0

    def shown(self, status: SessionStatus, link: BackendLink | None) -> SessionStatus:
        """The status with a word on the lost connection while it is lost, and as it was when it is back."""
        if link is not None and link.lost and status.state in (RENDERING, FITTING):
            if status.message != TRYING_AGAIN:
                self._message = status.message
            return replace(status, message=TRYING_AGAIN, seconds_left=None)
        return replace(status, message=self._message) if status.message == TRYING_AGAIN else status

    def take(self, error: BackendLost, status: SessionStatus, job: str) -> bool:
        """Take note of why the backend is lost, and where the fit was. Returns whether it is to begin again at once.

        job: the backend's; empty where it has none.
        """
        self.job = job if error.job_may_go_on and status.state == FITTING else ""
        if not error.backend_is_there or self._begun_again == MOST_BEGUN_AGAIN:
            return False
        self._begun_again += 1
        return True

    def attaches(self) -> bool:
        """Whether the new connection attaches to the job. It is tried once: where that fails, the fit is begun again."""
        job, self.job = self.job, ""
        return bool(job)

    def has_gone_on(self) -> None:
        """A fit has come to its end."""
        self._begun_again = 0
