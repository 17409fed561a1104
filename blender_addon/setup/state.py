# SPDX-License-Identifier: GPL-3.0-or-later
"""The one check and the one setup of the backend in this Blender, for the preferences to show."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
import tomllib
from pathlib import Path

import bpy

from ..common.errors import PbrFitError
from ..common.package import shipped_file
from .backend_check import BAD, CheckLine, CheckReport, LocalCheck, RemoteCheck
from .backend_environment import environments_folder, finished_environment
from .backend_process import backend_command, client_keys
from .install import BackendSetup, SetupStatus
from .torch_builds import CONFIGURED, CPU, CUDA, TorchBuild

TORCH_NAMES = {CPU: "PyTorch for the processor", CUDA: "PyTorch with CUDA", CONFIGURED: "the PyTorch that pip found"}

_check: LocalCheck | RemoteCheck | None = None
_report: CheckReport | None = None
_setup: BackendSetup | None = None
_public_key = ""


def addon_version() -> str:
    """This add-on's version."""
    with open(shipped_file("blender_manifest.toml"), "rb") as manifest:
        return tomllib.load(manifest)["version"]


def is_loopback(address: str) -> bool:
    """Whether an address such as tcp://127.0.0.1:5555 is of this machine."""
    host = address.split("://", 1)[-1].rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def public_key() -> str:
    """This Blender's public key, which a backend on another machine must know. Raises PbrFitError."""
    global _public_key
    _public_key = _public_key or client_keys().public
    return _public_key


def local_command(preferences) -> list[str]:
    """The command of the backend on this machine that the preferences lead to. Raises PbrFitError."""
    return backend_command(bpy.path.abspath(preferences.backend_python.strip()))


def backend_found(preferences) -> str:
    """Which backend the preferences lead to, for people. Raises PbrFitError where there is none."""
    address, python = preferences.backend_address.strip(), preferences.backend_python.strip()
    if address:
        return f"Remote backend at {address}"
    command = local_command(preferences)
    if python:
        return f"The chosen Python, {python}"
    if len(command) == 1:
        return f"The command {command[0]}"
    return "The environment that was set up here"


def environment_found() -> str:
    """What the environment that was set up holds, for people; empty where there is none."""
    found = finished_environment(environments_folder())
    if found is None:
        return ""
    return f"Set up: PBRfit {found.version} with {TORCH_NAMES.get(found.build, 'PyTorch')}, on {found.base}"


def command_found() -> str:
    """The command pbrfit on the search path; empty where there is none."""
    return shutil.which("pbrfit") or ""


def check() -> LocalCheck | RemoteCheck | None:
    """The check that runs."""
    return _check


def report() -> CheckReport | None:
    """What the last check found."""
    return _report


def setup_status() -> SetupStatus | None:
    """Where the running setup is, or how the last one ended."""
    return _setup.status if _setup is not None else None


def setup_log() -> Path | None:
    """The log of the running or last setup."""
    return _setup.log_path if _setup is not None else None


def setting_up() -> bool:
    """Whether a setup runs."""
    return _setup is not None and not _setup.status.finished


def start_check(preferences) -> None:
    """Check the backend that the preferences lead to; what cannot even be started is a report too."""
    global _check, _report
    close_check()
    try:
        address = preferences.backend_address.strip()
        if not address:
            where, command = backend_found(preferences), local_command(preferences)
            _check = LocalCheck(where, command, Path(bpy.app.tempdir or tempfile.gettempdir()), addon_version())
            return
        if not is_loopback(address) and not bpy.app.online_access:
            cause = "Blender may not go online, so a backend on another machine is out of reach."
            raise PbrFitError(cause, "Turn on Allow Online Access in Preferences > System > Network.")
        _check = RemoteCheck(address, preferences.backend_key.strip(), client_keys(), addon_version())
    except PbrFitError as error:
        _report = CheckReport("The backend", (CheckLine(BAD, error.cause, error.cure),))


def start_setup(build: TorchBuild, python: str) -> None:
    """Set up the backend. Raises PbrFitError where that cannot even begin."""
    global _setup, _report
    try:
        _setup = BackendSetup(build, python)
    except OSError as error:
        cause = f"The add-on's folder cannot be used: {error}."
        raise PbrFitError(cause, "Check who may write to Blender's user folder.") from error
    _report = None


def cancel_setup() -> None:
    """Cancel the setup that runs."""
    if _setup is not None:
        _setup.cancel()


def poll() -> bool:
    """Take over what has finished; returns whether something still runs."""
    global _check, _report
    if _check is not None:
        _report = _check.poll()
        if _report is not None:
            _check = None
    return _check is not None or setting_up()


def close_check() -> None:
    """End the check that runs, and forget what the last one found."""
    global _check, _report
    if _check is not None:
        _check.close()
    _check = _report = None


def close() -> None:
    """End everything and forget it."""
    global _setup, _public_key
    close_check()
    if _setup is not None:
        _setup.close()
    _setup, _public_key = None, ""
