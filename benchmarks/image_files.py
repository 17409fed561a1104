"""`python -m benchmarks image_files`: how long the maps' image files take to write and to read.

Where OpenCV is installed, it writes and reads the same pixels in turn with PBRfit, as PBRfit did before. Contents are smooth
(gradients), grainy (gradients with noise of 1%, as fitted maps have) and noise. Files live in memory; PBRfit's time includes
its temporary file. Each time is the median of the repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import check_output, circumstances, print_table, write_json
from render.core.image_io import decode_image, encode_image

_CONTENTS = ("smooth", "grainy", "noise")
_LIGHT_SIZE = (1024, 2048)
_BRIGHTEST = 30.0

Pixels = NDArray[Any]
Codec = tuple[Callable[[str, Pixels], bytes], Callable[[bytes], Pixels]]
"""Encodes pixels for a file's ending, and decodes a file's bytes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--size", type=int, default=4096, help="edge of the maps in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="of each file; the median counts")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> None:
    """Write and read each kind of file, and print a table."""
    check_output(options.json)
    codecs = _codecs()
    rows = []
    for content in _CONTENTS:
        for name, suffix, image in _images(content, options.size):
            for codec, found in _measure(codecs, suffix, image, options.repeats).items():
                rows.append({"file": name, "content": content, "by": codec, **found})
    heading = ["file", "content", "by", "write ms", "read ms", "MB"]
    print_table(
        f"Maps of {options.size} x {options.size}, light of {_LIGHT_SIZE[1]} x {_LIGHT_SIZE[0]}",
        [heading, *([*row.values()] for row in rows)],
    )
    if options.json is not None:
        record = circumstances(torch.device("cpu"))
        record["versions"] |= {name: _version(name) for name in ("OpenImageIO", "imageio", "opencv-python-headless")}
        write_json(options.json, record | {"size": options.size, "repeats": options.repeats, "files": rows})


def _codecs() -> dict[str, Codec]:
    """PBRfit, and OpenCV where it is installed."""
    codecs: dict[str, Codec] = {"PBRfit": (encode_image, decode_image)}
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    try:
        import cv2  # no dependency of PBRfit
    except ImportError:
        return codecs

    def encode(suffix: str, image: Pixels) -> bytes:
        return bytes(cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]))[1].tobytes())

    def decode(data: bytes) -> Pixels:
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))[..., ::-1]

    return codecs | {"OpenCV": (encode, decode)}


def _images(content: str, size: int) -> list[tuple[str, str, Pixels]]:
    """Name, ending and pixels [H, W, 3] of each kind of file that PBRfit writes."""
    shares = _shares(content, size, size)
    light = (_shares(content, *_LIGHT_SIZE) ** 2 * _BRIGHTEST).astype(np.float32)
    return [
        ("PNG, 8 bit", ".png", np.rint(shares * 255).astype(np.uint8)),
        ("PNG, 16 bit", ".png", np.rint(shares * 65535).astype(np.uint16)),
        ("EXR", ".exr", light),
        ("HDR", ".hdr", light),
    ]


def _shares(content: str, height: int, width: int) -> NDArray[np.float32]:
    """float32 [height, width, 3], 0..1."""
    random = np.random.default_rng(0)
    if content == "noise":
        return random.random((height, width, 3), np.float32)
    y, x = (axis.astype(np.float32) / width for axis in np.mgrid[:height, :width])
    waves = (np.sin(6 * x + 3 * y), np.cos(5 * y + 9 * x * y), np.sin(20 * x) * np.cos(13 * y))
    smooth = np.stack([0.5 + 0.4 * wave for wave in waves], -1).astype(np.float32)
    if content == "grainy":
        smooth += random.standard_normal(smooth.shape, np.float32) * np.float32(0.01)
    return smooth.clip(0, 1)


def _measure(codecs: dict[str, Codec], suffix: str, image: Pixels, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds and megabytes of each codec; they take turns, so that a busy moment of the machine meets all."""
    data = {name: encode(suffix, image) for name, (encode, _) in codecs.items()}
    writing: dict[str, list[float]] = {name: [] for name in codecs}
    reading: dict[str, list[float]] = {name: [] for name in codecs}
    for _ in range(repeats):
        for name, (encode, decode) in codecs.items():
            began = time.perf_counter()
            encode(suffix, image)
            written = time.perf_counter()
            decode(data[name])
            writing[name].append(written - began)
            reading[name].append(time.perf_counter() - written)
    return {
        name: {
            "write_ms": round(statistics.median(writing[name]) * 1e3, 1),
            "read_ms": round(statistics.median(reading[name]) * 1e3, 1),
            "megabytes": round(len(data[name]) / 1e6, 2),
        }
        for name in codecs
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
