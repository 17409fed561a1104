"""The command that tests the add-on in every Blender: what it chooses, and that a version it cannot test fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(TESTS)
    import blender_versions

    return blender_versions


def test_tests_that_need_torch_are_told_from_the_others(versions) -> None:
    found = {path.stem for path in versions.TESTS.rglob("test_*.py") if versions.needs_torch(path)}
    # By torch itself, by the renderer, by the benchmarks, and by a helper that imports it.
    assert found >= {"test_tangents_against_blender", "test_gltf_in_blender", "test_conventions_against_cycles"}
    assert "test_shading_models_against_cycles" in found
    assert not found & {"test_extension", "test_state_machine", "test_materials", "test_checks"}


def test_a_python_that_is_not_there_fails_its_version(versions, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PBRFIT_TEST_CACHE", str(tmp_path))
    monkeypatch.setitem(versions.PYTHON_OF, "5.2.3", "3.99")
    outcome = versions.run_tests("5.2.3", Path("pbrfit.zip"), False, [])
    assert outcome.trouble == "there is no Python 3.99 that runs: install it, so that python3.99 starts it"
    assert outcome.trouble in versions.table([outcome])
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_runs_is_found(versions) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert versions.runs_as(versions.find_python(here), here)


def test_counts_of_a_report(versions, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "@pytest.fixture\n"
        "def broken(): raise RuntimeError\n"
        "def test_error(broken): pass\n"
        "@pytest.mark.skip\n"
        "def test_skipped(): pass\n"
    )
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert versions.counts_of(report) == {"passed": 1, "failed": 2, "skipped": 1}


def test_an_unknown_version_is_refused() -> None:
    command = [sys.executable, str(TESTS / "blender_versions.py"), "3.6.0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "unknown version 3.6.0; there are 4.2.23" in answer.stderr
