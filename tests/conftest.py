"""What every test shares: threads that sleep while they wait, and where the data lie."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from pathlib import Path

import pytest
from support.data_folder import DATA

# The benchmarks are not installed. Last, so that what is installed is what is tested.
sys.path.append(str(Path(__file__).parents[1]))

from backend.server.threads import yield_idle_threads

pytest_plugins = ["support.blend_files"]

# Before any test imports torch: spinning threads would make a busy machine many times slower.
yield_idle_threads()


# With several workers (`pytest -n 2 --dist loadfile --no-loadscope-reorder`) none must be left alone with a long file.
LONGEST_FIRST = (
    "test_life_of_a_job.py",
    "test_checkpoints.py",
    "test_several_sets.py",
    "test_main_job.py",
    "test_interpreted.py",
    "test_optimize.py",
    "test_looks.py",
    "test_fit_from_bake.py",
    "test_stage.py",
    "test_nothing_lost.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest where the tests are spread over workers."""
    if hasattr(config, "workerinput"):
        places = {name: place for place, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_report_header() -> list[str]:
    """What the tests run with, so that a log says so by itself."""
    try:
        import torch
    except ImportError:
        torch = None  # in a Blender's own Python, see blender_versions.py

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "none"

    packages = ("numpy", "bpy", "triton", "nvdiffrast")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "none"
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return [
        f"{datetime.date.today()}, {platform.machine()}, GPU: {gpu}",
        f"torch {torch.__version__ if torch is not None else 'none'}, {versions}",
    ]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of meshes, environments and golden outputs; skips where it is not there."""
    if not (DATA / "golden").is_dir():
        pytest.skip(f"the test data are missing: there is no {DATA} (PBRFIT_DATA names another folder)")
    return DATA


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request) -> str:
    """Where tests of the renderer run: on the CPU by default, on an NVIDIA GPU with `pytest -m cuda`."""
    return request.param
