"""Run the tests of the add-on in every supported Blender, with the built extension installed as a user installs it.

    python tests/blender_versions.py [VERSION ...] [--short] [--at-once N] [--with-torch] [-- PYTEST ARGUMENTS]

For each version (default: all) an environment with that Blender as the module bpy is made in a cache folder
(PBRFIT_TEST_CACHE, or pbrfit/ in the user's cache folder) and kept; into it goes nothing of PBRfit but the zip that
build_addon.py makes, with the pyzmq that it bundles. The backend is that of the Python this runs with, in which PBRfit
must be installed. Tests that compare the renderer with Blender in one process need torch there too: they run with
--with-torch, which installs it, and are listed as left out otherwise. --short leaves out the tests marked any_blender:
those that are alike in every Blender, and of many that are like each other all but a spread. With --at-once the output
of each version comes when it has ended.

Ends with a table, and with status 0 only when every version asked for ran and passed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "blender_addon"
# Each Blender's own Python: the module bpy exists for that one alone.
PYTHON_OF = {"4.2.23": "3.11", "4.5.15": "3.11", "5.0.1": "3.11", "5.2.3": "3.13"}
NEEDED = ("numpy", "pytest")
NEEDED_BY_THE_RENDERER = ("torch", "imageio", "OpenImageIO", "pillow", "pygltflib", "pyzmq")
LONGEST_SECONDS = 2700.0


class VersionError(Exception):
    """A version cannot be tested; the message says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """How a version did. trouble: why it did not run or did not pass; empty where it passed."""

    version: str
    python: str
    trouble: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0


def cache_folder() -> Path:
    """Where the environments are kept."""
    if named := os.environ.get("PBRFIT_TEST_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pbrfit"


def runs_as(python: str | Path, wanted: str) -> bool:
    """Whether a program is a Python of the wanted version that really runs: pyenv's shims often do not."""
    try:
        answer = subprocess.run(
            [str(python), "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60.0,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == wanted


def find_python(wanted: str) -> Path:
    """A Python of a version such as 3.13. Raises VersionError where there is none."""
    shims = [Path(found).parents[1] for name in (f"python{wanted}", "python3") if (found := shutil.which(name))]
    pyenvs = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"), *shims]
    candidates = [Path(sys.executable)]
    candidates += [Path(found) for name in (f"python{wanted}", "python3", "python") if (found := shutil.which(name))]
    candidates += [Path(folder) / f"python{wanted}" for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")]
    for pyenv in pyenvs:
        candidates += sorted(pyenv.glob(f"versions/{wanted}.*/bin/python{wanted}"), reverse=True)
    for candidate in candidates:
        if runs_as(candidate, wanted):
            return candidate
    raise VersionError(f"there is no Python {wanted} that runs: install it, so that python{wanted} starts it")


def pins() -> dict[str, str]:
    """The version of each package that the tests ran with, by its name; those for one Python alone are left out."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if "==" in line and ";" not in line and not line.startswith("#")]
    return {line.split("==")[0]: line for line in pinned}


def python_in(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def environment_with(version: str, with_torch: bool) -> Path:
    """The Python of an environment that holds this Blender, made where there is none. Raises VersionError."""
    environment = cache_folder() / f"blender-{version}-python{PYTHON_OF[version]}"
    python = python_in(environment)
    pinned = pins()
    requirements = [f"bpy=={version}", *(pinned.get(name, name) for name in NEEDED)]
    if PYTHON_OF[version] == "3.11":
        requirements.append("numpy<2")  # what Blender 4.2 to 5.0 are built with
    if with_torch:
        requirements += [pinned[name] for name in NEEDED_BY_THE_RENDERER]
    record = environment / "requirements.json"
    installed = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    if not set(requirements) <= set(installed):
        print(f"making {environment}", flush=True)
        if not installed:
            shutil.rmtree(environment, ignore_errors=True)
            run_or_fail([find_python(PYTHON_OF[version]), "-m", "venv", environment])
        run_or_fail([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        record.write_text(json.dumps(sorted({*installed, *requirements})), encoding="utf-8")
    return python


def run_or_fail(command: list[object]) -> None:
    """Run a command; raises VersionError with the end of what it said where it fails."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-5:]
        raise VersionError(f"`{' '.join(str(part) for part in command)}` failed: " + " ".join(said))


def needs_torch(path: Path) -> bool:
    """Whether a test file, or a helper of the tests that it imports, imports torch, the renderer or the benchmarks."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for module in modules:
            if module.split(".")[0] in {"torch", "render", "benchmarks"}:
                return True
            helper = ROOT / "tests" / Path(*module.split(".")).with_suffix(".py")
            if helper.is_file() and needs_torch(helper):
                return True
    return False


def backend_trouble() -> str:
    """Why the backend of this Python cannot be tested with; empty where it can."""
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run(
            [sys.executable, "-c", "import backend.cli.main, imageio, OpenImageIO, torch, zmq"],
            cwd=elsewhere,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode == 0:
        return ""
    return f"{sys.executable} lacks the backend (pip install .): {answer.stderr.strip().splitlines()[-1]}"


def run_tests(
    version: str, extension: Path, with_torch: bool, pytest_arguments: list[str], output: IO[str] | None = None
) -> Outcome:
    """Run the tests in one Blender. output: where what they say goes; None: on the screen."""
    began = time.monotonic()
    try:
        python = environment_with(version, with_torch)
    except VersionError as error:
        return Outcome(version, PYTHON_OF[version], str(error))
    files = sorted(TESTS.rglob("test_*.py"))
    left_out = [] if with_torch else [path for path in files if needs_torch(path)]
    report = Path(tempfile.mkdtemp(prefix="pbrfit_versions_")) / "report.xml"
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "--quiet", f"--junitxml={report}", TESTS]
    command += [f"--ignore={path}" for path in left_out]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PBRFIT_EXTENSION_ZIP": str(extension), "PBRFIT_BACKEND_PYTHON": sys.executable}
    # Nothing of pytest's must get into the source tree, which other versions import too.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        status = run_group([str(part) for part in command] + pytest_arguments, environment, output)
        trouble = "" if status == 0 else f"pytest ended with status {status}"
        counts = counts_of(report)
    except subprocess.TimeoutExpired:
        trouble, counts = f"not done after {LONGEST_SECONDS:.0f} s", {}
    finally:
        shutil.rmtree(report.parent, ignore_errors=True)
    names = tuple(path.stem for path in left_out)
    return Outcome(version, PYTHON_OF[version], trouble, **counts, left_out=names, seconds=time.monotonic() - began)


def run_at_once(
    versions: list[str], extension: Path, with_torch: bool, pytest_arguments: list[str], count: int
) -> list[Outcome]:
    """Run the tests in several Blenders, `count` at a time; what each said is printed when it has ended."""

    def run(version: str) -> Outcome:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            outcome = run_tests(version, extension, with_torch, pytest_arguments, output)
            output.seek(0)
            print(f"== Blender {version}\n{output.read()}", flush=True)
            return outcome

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, versions))


def run_group(command: list[str], environment: dict[str, str], output: IO[str] | None = None) -> int:
    """Run a program in the source folder and return its status; what it started ends with it, however it ends.

    Raises subprocess.TimeoutExpired after LONGEST_SECONDS.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=os.name == "posix"
    )
    try:
        return process.wait(LONGEST_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


def counts_of(report: Path) -> dict[str, int]:
    """How many tests passed, failed and were skipped, by pytest's JUnit report; nothing where there is none."""
    if not report.is_file():
        return {}
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    count = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return {"passed": count["tests"] - failed - count["skipped"], "failed": failed, "skipped": count["skipped"]}


def table(outcomes: list[Outcome]) -> str:
    """All outcomes, a line each, and below what was left out."""
    lines = ["Blender   Python   passed   failed  skipped      time"]
    for item in outcomes:
        line = f"{item.version:<9} {item.python:<6} {item.passed:>8} {item.failed:>8} {item.skipped:>8} "
        lines.append(line + f"{item.seconds:>7.0f} s  {item.trouble or 'passed'}")
    left_out = sorted({name for item in outcomes for name in item.left_out})
    if left_out:
        lines.append(f"Left out, as they need torch in Blender's own Python (--with-torch): {', '.join(left_out)}")
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    arguments, pytest_arguments = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, pytest_arguments = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description="Run the add-on's tests in every supported Blender.")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of {', '.join(PYTHON_OF)} (default: all)")
    parser.add_argument("--short", action="store_true", help="leave out what is alike, or has tests like it that run")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="run so many versions at a time")
    parser.add_argument("--with-torch", action="store_true", help="install torch beside bpy, and leave no test out")
    chosen = parser.parse_args(arguments)
    if chosen.short:
        pytest_arguments = ["-m", "not cuda and not any_blender", *pytest_arguments]
    unknown = [version for version in chosen.versions if version not in PYTHON_OF]
    if unknown:
        parser.error(f"unknown version {', '.join(unknown)}; there are {', '.join(PYTHON_OF)}")
    if trouble := backend_trouble():
        print(f"blender_versions: {trouble}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    import build_addon

    outcomes = []
    with tempfile.TemporaryDirectory(prefix="pbrfit_versions_") as folder:
        extension = build_addon.build(folder)
        versions = chosen.versions or list(PYTHON_OF)
        if chosen.at_once > 1:
            outcomes = run_at_once(versions, extension, chosen.with_torch, pytest_arguments, chosen.at_once)
        else:
            for version in versions:
                print(f"== Blender {version}", flush=True)
                outcomes.append(run_tests(version, extension, chosen.with_torch, pytest_arguments))
    print(table(outcomes), flush=True)
    return 0 if all(not item.trouble for item in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
