"""The wheels of pyzmq in the extension: fetched by pip, and of each platform's two one that suits every Blender.

Blender 4.2 to 5.0 have Python 3.11, which needs a wheel of its own; later ones take that of the stable ABI, from Python 3.12 on.
Blender from 5.1 on refuses an extension with both: it takes the Python versions of all wheels together for the only ones that
the extension runs on. Both wheels hold the same files but for one compiled module, whose names differ, and Python
loads the one that is for it. So a wheel with both modules, which names both Pythons, suits all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backend.extension.archives import BuildError, read_zip, with_record, write_zip

PYZMQ_VERSION = "27.3.0"

PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64",),
    "macos-x64": ("macosx_11_0_x86_64",),
}
"""Blender's name of each platform, and pip's names of the newest that Blender 4.2 runs on."""

THIRD_PARTY = f"""\
The wheels in this extension hold work of others, under licenses of their own, kept in the folder pyzmq beside this file:

pyzmq {PYZMQ_VERSION}   BSD-3-Clause   https://github.com/zeromq/pyzmq (some lines of Tornado's: Apache-2.0)
libzmq         MPL-2.0        https://github.com/zeromq/libzmq (its source code is there)
libsodium      ISC            https://github.com/jedisct1/libsodium

Each wheel joins two of pyzmq's own for the same platform, for Python 3.11 and for Python 3.12 and later; no file of theirs was
changed except the wheel's own lists, WHEEL and RECORD.

The folder backend_wheel holds PBRfit's own backend, a separate program that is installed only if the user asks for it:
Apache-2.0, except for its copy of this add-on.
"""

COPYRIGHTS = (
    "2009-2012 Brian Granger, Min Ragan-Kelley and PyZMQ Developers (pyzmq)",
    "2009 Facebook (lines of Tornado in pyzmq)",
    "2007-2016 Contributors as noted in the AUTHORS file (libzmq)",
    "2013-2026 Frank Denis (libsodium)",
)
"""Who else has rights in an extension with wheels, in the manifest's form."""


@dataclass(frozen=True)
class WheelChoice:
    """Which of pyzmq's wheels for a platform, as pip chooses it."""

    python_version: str
    abi: str


PYTHON_3_11 = WheelChoice("3.11", "cp311")
STABLE_ABI = WheelChoice("3.13", "abi3")


def download_wheel(wanted: WheelChoice, platform_name: str, directory: Path) -> Path:
    """Fetch a pyzmq wheel for a platform into `directory` with pip; returns its path."""
    command = [sys.executable, "-m", "pip", "download", f"pyzmq=={PYZMQ_VERSION}", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", wanted.python_version, "--implementation", "cp", "--abi", wanted.abi]
    command += [part for tag in PLATFORMS[platform_name] for part in ("--platform", tag)]
    result = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check", "--dest", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(
            f"pip could not fetch a pyzmq wheel for Python {wanted.python_version} on {platform_name}: "
            f"{result.stderr.strip()}\nCheck the network, or build with --wheels none."
        )
    (wheel,) = directory.glob("*.whl")
    return wheel


def fetch_wheels(platforms: Sequence[str], directory: Path) -> list[Path]:
    """Fetch and join the pyzmq wheels for some platforms; there may be fewer, because one may serve two platforms (macOS)."""

    def fetch(platform_name: str) -> Path:
        # A folder for each: two pips that fetch the same file must not write to the same folder.
        older, newer = (
            download_wheel(wanted, platform_name, directory / f"{platform_name}-{wanted.abi}")
            for wanted in (PYTHON_3_11, STABLE_ABI)
        )
        return join_wheels(older, newer, directory / platform_name)

    with ThreadPoolExecutor(len(platforms)) as pool:
        found = {wheel.name: wheel for wheel in pool.map(fetch, platforms)}
    return [found[name] for name in sorted(found)]


def join_wheels(older: Path, newer: Path, directory: Path) -> Path:
    """Write a wheel with all files of two wheels of the same version for the same platform into `directory`.

    Returns its path. Raises BuildError if a file of both differs, or if they are not for the same platform.
    """
    name, version, older_python, older_abi, platform_tag = older.stem.split("-")
    same_name, same_version, newer_python, newer_abi, same_platform = newer.stem.split("-")
    first, second = read_zip(older), read_zip(newer)
    info = f"{name}-{version}.dist-info"
    own = {f"{info}/WHEEL", f"{info}/RECORD"}
    differing = [path for path in first.keys() & second.keys() if first[path] != second[path] and path not in own]
    if differing or (name, version, platform_tag) != (same_name, same_version, same_platform):
        what = f" in {', '.join(sorted(differing))}" if differing else ""
        raise BuildError(
            f"{older.name} and {newer.name} differ{what}, so one zip cannot serve every Blender with them."
        )
    tags = [line for line in second[f"{info}/WHEEL"].splitlines(keepends=True) if line.startswith(b"Tag: ")]
    files = second | first | {f"{info}/WHEEL": first[f"{info}/WHEEL"].rstrip(b"\r\n") + b"\n" + b"".join(tags)}
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-{older_python}.{newer_python}-{older_abi}.{newer_abi}-{platform_tag}.whl"
    write_zip(path, with_record(files, info))
    return path


def licence_files(wheel: Path) -> dict[str, bytes]:
    """The licenses in a pyzmq wheel, by their path in the extension."""
    found = {
        f"licenses/pyzmq/{name.rsplit('/', 1)[-1]}": content
        for name, content in read_zip(wheel).items()
        if "/licenses/" in name
    }
    wanted = ("LICENSE.md", "LICENSE.zeromq.txt", "LICENSE.libsodium.txt")
    missing = [name for name in wanted if f"licenses/pyzmq/{name}" not in found]
    if missing:
        raise BuildError(f"{wheel.name} lacks the licenses {', '.join(missing)}, without which nobody may pass it on.")
    return found | {"licenses/README.txt": THIRD_PARTY.encode()}
