"""The end of a server that its jobs survive: they keep what they need to go on, and their clients are told."""

from __future__ import annotations

import logging
import time

from backend.server.job_requests import ending
from backend.server.job_service import JobService

# A job that runs may write a last checkpoint for so long; clients may fetch what is done for so long after that.
LEAVE_S = 15.0
FETCH_S = 5.0
# The reply to the last message is on its way through the door for less than this.
REPLY_S = 0.3

logger = logging.getLogger(__name__)


class Drain:
    """Begins on construction: there are no new jobs, those that wait end at once, those that run are asked to leave."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._leave_until = time.monotonic() + LEAVE_S
        self._fetch_until = 0.0
        self._done_since = 0.0
        service.refuses = True
        live = [job for job in service.jobs if not job.is_final]
        logger.info("ending: %d jobs are to leave", len(live))
        for job in live:
            if job in service.running and not job.control.stopped:
                job.leave(ending())
            else:
                service.end_early(job, ending(), keep_checkpoint=True)

    def is_over(self) -> bool:
        """Whether the server can end now. Ask twice a second or so."""
        now = time.monotonic()
        if self._service.running and now < self._leave_until:
            return False
        for job in self._service.running:
            if not job.is_final:
                logger.warning("job %s did not leave in %.0f s", job.id, LEAVE_S, extra=job.about)
                self._service.end_early(job, ending(), keep_checkpoint=True)
        if not self._fetch_until:
            self._fetch_until = now + FETCH_S
        if not self._done_since and (now >= self._fetch_until or not list(self._service.jobs)):
            self._done_since = now
        return bool(self._done_since) and now >= self._done_since + REPLY_S
