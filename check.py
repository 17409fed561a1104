"""Lint, types and tests by one command, as continuous integration runs them.

    python check.py [lint] [types] [words] [tests]        (default: all of them)

`lint`: ruff's rules and its format. `types`: mypy over the three rooms; the add-on is checked with the wire protocol beside
it, as build_addon.py puts it into the extension. `words`: each catalogue of translations has all texts that the add-on
shows (`python update_translations.py` adds those that are missing). `tests`: pytest. Stops at the first that fails, with its
status.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def lint() -> int:
    """Status of ruff."""
    return _run("ruff", "check", ".") or _run("ruff", "format", "--check", ".")


def types() -> int:
    """Status of mypy."""
    status = _run("mypy", "-p", "render", "-p", "backend")
    if status:
        return status
    with tempfile.TemporaryDirectory(prefix="pbrfit_types_") as folder:
        addon = Path(folder) / "blender_addon"
        shutil.copytree(ROOT / "blender_addon", addon)
        shutil.copytree(ROOT / "backend" / "protocol", addon / "protocol")
        config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache" / "addon")]
        return _run("mypy", "-p", "blender_addon", *config, folder=Path(folder))


def words() -> int:
    """Status of the check of the translations."""
    return subprocess.run([sys.executable, "update_translations.py", "--check"], cwd=ROOT, check=False).returncode


def tests() -> int:
    """Status of pytest."""
    return _run("pytest")


CHECKS: dict[str, Callable[[], int]] = {"lint": lint, "types": types, "words": words, "tests": tests}


def _run(module: str, *arguments: str, folder: Path = ROOT) -> int:
    print(f"{module} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, check=False).returncode


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Lint, check types and run the tests.")
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, []], metavar="CHECK", help=f"of {', '.join(CHECKS)}")
    chosen = parser.parse_args().checks or list(CHECKS)
    for name in chosen:
        if status := CHECKS[name]():
            print(f"check.py: {name} failed", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
