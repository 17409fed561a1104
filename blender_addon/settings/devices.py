# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fit can compute, as far as backends have told."""

from __future__ import annotations

AUTO, CPU, GPU = "auto", "cpu", "cuda"
NONE_FOUND = CPU

_told: dict[str, str] = {}


def note(device: str, name: str) -> None:
    """Remember what a backend says of its machine. device: "cuda", "cpu" or empty; name: of the GPU, or of the processor."""
    if device:
        _told.update(device=device, name=name)


def has_gpu() -> bool | None:
    """Whether the backend's machine has a GPU; None while no backend has told."""
    return _told["device"] != NONE_FOUND if _told else None


def is_choice(chosen: str) -> bool:
    """Whether there is anything to choose: a machine without a GPU has one device."""
    return chosen != AUTO or has_gpu() is not False


def items(chosen: str) -> list[tuple[str, str, str]]:
    """The devices as Blender's enum items: what is there, and what is chosen now."""
    found = [
        (AUTO, "Automatic", "The GPU if the backend's machine has one, else the processor"),
        (CPU, "CPU", "The processor, also if there is a GPU"),
    ]
    if has_gpu() is not False:
        name = _told.get("name", "")
        found.append((GPU, f"GPU ({name})" if name else "GPU", "The first NVIDIA GPU of the backend's machine"))
    if chosen not in {item[0] for item in found}:
        found.append((chosen, chosen, "Set by a script or an earlier file"))
    return found
