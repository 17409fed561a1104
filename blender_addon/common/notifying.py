# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications of the system, by the programs that it has for them. Nothing waits for them.

A text can hold the name of a material from anybody's file. So it is never part of a script or of a shell's command: programs get
it as one argument or as a variable of their environment, without control characters, and escaped where it would be markup.
"""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

from .processes import NO_WINDOW

APPLICATION = "Blender"
TITLE, TEXT = "PBRFIT_TITLE", "PBRFIT_TEXT"
MOST_CHARACTERS = 300
APPLE_SCRIPT = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
TOAST_SCRIPT = f"""
$manager = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$content = $manager::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)
$lines = $content.GetElementsByTagName('text')
$null = $lines.Item(0).AppendChild($content.CreateTextNode($env:{TITLE}))
$null = $lines.Item(1).AppendChild($content.CreateTextNode($env:{TEXT}))
$sender = '{{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}}\\WindowsPowerShell\\v1.0\\powershell.exe'
$manager::CreateToastNotifier($sender).Show([Windows.UI.Notifications.ToastNotification]::new($content))
"""

_running: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Call:
    """A program to start: its arguments, and further variables of its environment."""

    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)


def notify(title: str, text: str, platform: str = sys.platform) -> bool:
    """Show a notification, if the system has a program for it; returns whether one was started."""
    _running[:] = [process for process in _running if process.poll() is None]
    call = notification_call(plain(title), plain(text), platform)
    if call is None:
        return False
    try:
        process = subprocess.Popen(
            call.command,
            env=os.environ | call.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=NO_WINDOW,
        )
    except OSError:
        return False
    _running.append(process)
    return True


def plain(text: str) -> str:
    """A text in one line, without what is not to be printed, and not too long."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    line = " ".join(words)
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def notification_call(title: str, text: str, platform: str) -> Call | None:
    """How to show a notification on a platform (as `sys.platform` names it); None where it has no program for it.

    title, text: as `plain` makes them.
    """
    if platform == "win32":
        program = shutil.which("powershell")
        arguments = ["-NoProfile", "-NonInteractive", "-WindowStyle", "Hidden", "-Command", TOAST_SCRIPT]
        return Call([program, *arguments], {TITLE: title, TEXT: text}) if program else None
    if platform == "darwin":
        program = shutil.which("osascript")
        lines = [part for line in APPLE_SCRIPT for part in ("-e", line)]
        return Call([program, *lines, title, text]) if program else None
    body = html.escape(text, quote=False)  # servers read a body as markup
    program = shutil.which("notify-send")
    if program:
        return Call([program, f"--app-name={APPLICATION}", "--icon=blender", "--", title, body])
    program = shutil.which("gdbus")
    if not program:
        return None
    service = "org.freedesktop.Notifications"
    method = ["--dest", service, "--object-path", "/org/freedesktop/Notifications", "--method", f"{service}.Notify"]
    # Every argument is parsed as a value of GLib, so texts are quoted as such.
    values = [quoted(APPLICATION), "uint32 0", quoted("blender"), quoted(title), quoted(body)]
    return Call([program, "call", "--session", *method, *values, "@as []", "@a{sv} {}", "int32 -1"])


def quoted(text: str) -> str:
    """A text as GLib writes a string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
