"""A file of arrays and JSON values, for checkpoints: written whole or not at all, and distrusted when it is read.

It is a zip archive of npy files, so that each has a checksum. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ABOUT = "about"
_SLACK_BYTES = 16 << 20


class DamagedFile(Exception):
    """A file that is not one of ours, or not as it was written."""


def write_file(path: Path, about: dict[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Write a file. prefix: of the temporary one beside it. Raises OSError; then the file is as it was."""
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")
    try:
        # Not by np.savez: where the disk is full, its archive fails once more when it is collected.
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in ({_ABOUT: text} | dict(arrays)).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)  # type: ignore[no-untyped-call]
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_file(path: Path, most_bytes: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON values and the arrays of a file. Raises `DamagedFile`, whatever is in it; most_bytes: it may hold no more."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > most_bytes + _SLACK_BYTES:
                raise DamagedFile(f"it holds {size} bytes, more than such a job needs")
            arrays = {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in archive.infolist()}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        return dict(about), arrays
    except DamagedFile:
        raise
    except Exception as error:  # what a damaged archive makes of its readers is not to be foreseen
        raise DamagedFile(f"{type(error).__name__}: {error}") from error


def _array(data: bytes) -> NDArray[Any]:
    """The array of an npy file; its header must not promise more than is there."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]  # NumPy does not annotate it
    if version != (1, 0):
        raise DamagedFile(f"an array has the format {version}")
    header = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]  # NumPy does not annotate it
    shape, is_fortran, dtype = header
    rest = memoryview(data)[stream.tell() :]
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != rest.nbytes:
        raise DamagedFile("an array is not of the size that its header says")
    values: NDArray[Any] = np.frombuffer(rest, dtype)
    return values.reshape(shape[::-1]).T if is_fortran else values.reshape(shape)
