# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session does while its backend is out of reach, and when it is back without the job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from ..common.errors import PbrFitError
from .backend_link import BackendLink, BackendLost
from .session_status import FITTING, RENDERING, STARTING, SessionStatus

TRYING_AGAIN = "The backend does not answer; trying again"
# How often a fit is begun again by itself, where the backend is there and has forgotten its job.
MOST_BEGUN_AGAIN = 3


class Recovery:
    """Of one session. job: the backend's job to attach to when the fit goes on; empty: begin it again."""

    def __init__(self) -> None:
        self.job = ""
        self._message = ""
        self._begun_again = 0
        self._begins_again = False

    def shown(self, status: SessionStatus, link: BackendLink | None) -> SessionStatus:
        """The status with a word on the lost connection while it is lost, and as it was when it is back."""
        if link is not None and link.lost and status.state in (RENDERING, FITTING):
            if status.message != TRYING_AGAIN:
                self._message = status.message
            return replace(status, message=TRYING_AGAIN, seconds_left=None)
        return replace(status, message=self._message) if status.message == TRYING_AGAIN else status

    def take(self, error: BackendLost, status: SessionStatus, job: str) -> None:
        """Take note of why the backend is lost, and where the fit was. job: the backend's; empty where it has none."""
        if error.job_may_go_on and status.state == FITTING:
            self.job = job
        elif error.backend_is_there or status.state != STARTING:
            self.job = ""  # else it is still out of reach
        self._begins_again = error.backend_is_there and self._begun_again < MOST_BEGUN_AGAIN

    def begin_again(self, resume: Callable[[], None]) -> None:
        """Resume the fit, which has failed, where the backend is there and would take its job again."""
        if self._begins_again:
            self._begun_again += 1
            with contextlib.suppress(PbrFitError):  # the session's status says it
                resume()

    def has_gone_on(self) -> None:
        """A fit has come to its end."""
        self._begun_again = 0
