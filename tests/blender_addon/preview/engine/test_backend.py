"""Where the preview connects to."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")


def test_a_backend_on_another_machine_needs_permission_to_go_online(addon):
    from zmq.utils import z85  # Blender has it once the extension is there.

    addon.preferences.backend_address = "tcp://192.0.2.1:5555"
    addon.preferences.backend_key = z85.encode(bytes(32)).decode()
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(addon.common.errors.PbrFitError, match="may not go online"):
        addon.preview.engine.backend.PreviewBackend(addon.preferences)
    bpy.context.preferences.system.use_online_access = True
    try:
        addon.preview.engine.backend.PreviewBackend(addon.preferences).close()
    finally:
        bpy.context.preferences.system.use_online_access = False


def test_a_backend_on_this_machine_needs_none(addon):
    from zmq.utils import z85  # Blender has it once the extension is there.

    addon.preferences.backend_address = "tcp://127.0.0.1:1"
    addon.preferences.backend_key = z85.encode(bytes(32)).decode()
    bpy.context.preferences.system.use_online_access = False
    addon.preview.engine.backend.PreviewBackend(addon.preferences).close()
