# SPDX-License-Identifier: GPL-3.0-or-later
"""The check and the setup of the backend that run in this Blender, at most one of each, for the preferences to show."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Protocol

import bpy

from ..common.errors import PbrFitError
from ..common.package import shipped_file
from .backend_check import BAD, CheckLine, CheckReport, LocalCheck, RemoteCheck
from .backend_process import backend_command, client_keys, require_connection
from .setup_status import RunningSetup, SetupStatus

_check: LocalCheck | RemoteCheck | None = None
_report: CheckReport | None = None
_setup: RunningSetup | None = None
_public_key = ""


class BackendChoice(Protocol):
    """What the add-on's preferences say of the backend: its Python, or the address and public key of a remote one."""

    backend_python: str
    backend_address: str
    backend_key: str


def addon_version() -> str:
    """This add-on's version."""
    with open(shipped_file("blender_manifest.toml"), "rb") as manifest:
        return str(tomllib.load(manifest)["version"])


def is_loopback(address: str) -> bool:
    """Whether an address such as tcp://127.0.0.1:5555 means this machine."""
    host = address.split("://", 1)[-1].rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_permission(address: str) -> None:
    """Raise PbrFitError if an address is on another machine and Blender may not go online."""
    if not is_loopback(address) and not bpy.app.online_access:
        cause = "Blender may not go online, so it cannot reach a backend on another machine."
        raise PbrFitError(cause, "Turn on Allow Online Access in Preferences > System > Network.")


def public_key() -> str:
    """This Blender's public key, which a backend on another machine must know. Raises PbrFitError if there is none."""
    global _public_key
    _public_key = _public_key or client_keys().public
    return _public_key


def local_command(preferences: BackendChoice) -> list[str]:
    """The command of the backend on this machine, by the preferences. Raises PbrFitError if there is none."""
    return backend_command(bpy.path.abspath(preferences.backend_python.strip()))


def backend_found(preferences: BackendChoice) -> str:
    """Which backend the preferences choose, for people. Raises PbrFitError if there is none, or nothing to connect with."""
    require_connection()
    address, python = preferences.backend_address.strip(), preferences.backend_python.strip()
    if address:
        return f"Remote backend at {address}"
    command = local_command(preferences)
    if python:
        return f"The chosen Python, {python}"
    if len(command) == 1:
        return f"The command {command[0]}"
    return "The environment that was set up here"


def command_found() -> str:
    """The command pbrfit on the search path; empty if there is none."""
    return shutil.which("pbrfit") or ""


def check() -> LocalCheck | RemoteCheck | None:
    """The check that runs, or None."""
    return _check


def report() -> CheckReport | None:
    """What the last check found, or None."""
    return _report


def setup_status() -> SetupStatus | None:
    """How far the running setup is, or how the last one ended; None if there was none."""
    return _setup.status if _setup is not None else None


def setup_seconds() -> float:
    """How long the running setup has run, or the last one ran; 0 if there was none."""
    return _setup.seconds if _setup is not None else 0.0


def setup_log() -> Path | None:
    """The log of the running or last setup; None if there was none."""
    return _setup.log_path if _setup is not None else None


def setting_up() -> bool:
    """Whether a setup runs."""
    return _setup is not None and not _setup.status.finished


def start_check(preferences: BackendChoice) -> None:
    """Check the backend that the preferences choose; if the check cannot start, the report says why."""
    global _check, _report
    close_check()
    try:
        require_connection()
        address = preferences.backend_address.strip()
        if not address:
            where, command = backend_found(preferences), local_command(preferences)
            _check = LocalCheck(where, command, Path(bpy.app.tempdir or tempfile.gettempdir()), addon_version())
            return
        require_permission(address)
        _check = RemoteCheck(address, preferences.backend_key.strip(), client_keys(), addon_version())
    except PbrFitError as error:
        _report = CheckReport("The backend", (CheckLine(BAD, error.cause, error.cure),))


def begin_setup(setup: RunningSetup) -> None:
    """Take over a setup that has been started."""
    global _setup, _report
    _setup, _report = setup, None


def cancel_setup() -> None:
    """Cancel the setup that runs."""
    if _setup is not None:
        _setup.cancel()


def poll() -> bool:
    """Take over the report of a check that has finished; returns whether a check or a setup still runs."""
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
