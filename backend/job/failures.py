"""What a job's client is told of an exception that the job did not expect."""

from __future__ import annotations

import errno

from backend.job.model import JobError

MEMORY, DEVICE, WORKER, DISK, INTERNAL = "memory", "device_lost", "worker", "disk", "internal"
UNEXPECTED = (MEMORY, DEVICE, DISK, INTERNAL)
"""What `failure_of` makes of exceptions, which may have come in the middle of anything."""
_MEMORY_TEXTS = ("can't allocate memory", "out of memory", "cannot allocate memory", "not enough memory")


def failure_of(error: BaseException) -> JobError:
    """The error of a job that ended with this exception. The code `MEMORY`: there was too little of it. `DEVICE`: the GPU
    must not be used any more by this process.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return JobError(DISK, f"The disk is full: {error}.", "Free space on the backend's disk, then fit again.")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _says(text, _MEMORY_TEXTS):
        return JobError(
            MEMORY,
            f"The memory does not suffice for this fit ({_first_line(text)}).",
            "Choose a smaller resolution, fewer or smaller views, or end other programs that use the device's memory.",
        )
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in text:
        return JobError(
            DEVICE,
            f"The GPU failed during the fit ({_first_line(text)}).",
            "Fit again; if that fails too, choose the device 'cpu' or update the GPU's driver.",
        )
    return JobError(
        INTERNAL,
        f"The fit stopped with {text}.",
        "This is a fault of PBRfit; please report it with the end of the backend's log.",
    )


def _says(text: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in text.lower() for phrase in phrases)


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]
