# SPDX-License-Identifier: GPL-3.0-or-later
"""One fit from the click to the assigned material, as a state machine that never makes Blender wait.

`start` does what needs the main thread and the open file: preflight, export, saving a copy. After it, `poll` is to be
called again and again, by a timer in a window or by a loop without one; it only moves finished things on.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from . import assign, preflight
from .backend_process import CLIENT_KEYS, LocalBackend, backend_command, local_backend
from .errors import PbrFitError
from .export_mesh import export_mesh
from .export_world import RENDERED_SIZE, export_world
from .preferences import addon_preferences
from .properties import fit_settings
from .protocol import events
from .protocol.client import BackendClient
from .references import EnvironmentRendered, ReferenceRenderer, ViewRendered, save_copy
from .session_status import (
    APPLYING,
    CANCELLED,
    DONE,
    EXPORTING,
    FAILED,
    FITTING,
    IDLE,
    RENDERING,
    STARTING,
    SessionResult,
    SessionStatus,
)
from .views import bounding_sphere, plan_views

# Held-out views measure: at the fit's few samples their noise alone would floor the PSNR shown (8 samples: 27 dB).
HELD_OUT_SAMPLES = 4
RENDERING_SHARE = 0.6  # of the progress bar
# The parts of the rest that the phases of a job take; each phase counts from 0 to 1. "fitting" is by far the longest.
FIT_PHASES = {"preparing": (0.0, 0.0), "references": (0.0, 0.02), "table": (0.02, 0.12), "fitting": (0.12, 0.94)}
LAST_PHASES = (0.94, 1.0)


class OptimizeSession:
    """One fit of one object. Use it once; call everything from Blender's main thread."""

    def __init__(self) -> None:
        self.status = SessionStatus()
        self.result: SessionResult | None = None
        self.plans: list = []
        self.previews: dict[tuple[int, str], np.ndarray] = {}
        self.previews_version = 0
        self._directory: Path | None = None
        self._renderer: ReferenceRenderer | None = None
        self._backend: LocalBackend | None = None
        self._client: BackendClient | None = None

    # Starting ---------------------------------------------------------------------------------------------------

    def start(self, context: bpy.types.Context) -> None:
        """Check, export and start everything; afterwards the artist's scene is as before.

        Raises PbrFitError, with nothing left running, where something stands in the way.
        """
        self._began = self._phase_began = time.monotonic()
        self.status = SessionStatus(EXPORTING, "Exporting")
        try:
            self._export(context)
            self._start_processes(context)
        except PbrFitError as error:
            self._fail(error)
            raise
        except Exception:
            self._release()
            raise
        self._end_phase("export", STARTING, "Starting the backend and a second Blender", 0.02)

    def _export(self, context: bpy.types.Context) -> None:
        depsgraph = context.evaluated_depsgraph_get()
        findings = preflight.all_findings(context, depsgraph)
        errors = preflight.errors_of(findings)
        if errors:
            others = "".join(f" Also: {finding}" for finding in errors[1:])
            raise PbrFitError(errors[0].cause, errors[0].cure + others)
        scene = context.scene
        chosen = scene.pbrfit
        self._settings = fit_settings(chosen)
        self._apply_world = chosen.apply_world
        scene_object = preflight.target_object(context)
        self._object_uid, self._scene_uid = scene_object.session_uid, scene.session_uid
        mesh = export_mesh(scene_object, depsgraph)
        self._used_slots = mesh.used_slots
        self._arrays = dict(mesh.arrays)
        environment = export_world(scene)
        if environment is not None:
            self._set_environment(environment)
        centre, radius = bounding_sphere(mesh.world_positions)
        views = plan_views(centre, radius, chosen.views, chosen.held_out_views, chosen.seed)
        parent = bpy.app.tempdir or None
        self._directory = Path(tempfile.mkdtemp(prefix="pbrfit_", dir=parent))
        copy = self._directory / "copy.blend"
        save_copy(copy)
        plan = {
            "blend": str(copy),
            "scene": scene.name,
            "object": scene_object.name,
            "size": chosen.view_size,
            "samples": chosen.samples,
            "output": str(self._directory),
            "threads": 0,
            "world_hdri": None,
            "environment": list(RENDERED_SIZE) if environment is None else None,
            "views": [
                view.for_blender() | {"samples": chosen.samples * (HELD_OUT_SAMPLES if view.held_out else 1)}
                for view in views
            ],
        }
        warnings = [str(finding) for finding in findings]
        self.result = SessionResult(scene_object.name, mesh.uv_map, plan, views, warnings)

    def _start_processes(self, context: bpy.types.Context) -> None:
        preferences = addon_preferences(context)
        self._client = BackendClient(keys=CLIENT_KEYS)
        self._connecting = False
        self._connected = False
        self._submitted = False
        self._ready_views: deque[ViewRendered] = deque()
        self._rendered = 0
        self._fit_result: events.Result | None = None
        address = preferences.backend_address.strip()
        if address:
            self._connect(address, getattr(preferences, "backend_key", ""))
        else:
            self._backend = local_backend(backend_command(preferences.backend_python.strip()))
        self._renderer = ReferenceRenderer(self.result.plan, self._directory)

    def _connect(self, address: str, server_key: str = "") -> None:
        self._client.connect(address, server_key)
        self._connecting = True

    def _set_environment(self, radiance: np.ndarray) -> None:
        if not np.isfinite(radiance).all():
            raise PbrFitError("The world's light is not finite.", "Check the numbers in the world's nodes.")
        if radiance.max() <= 0.0:
            raise PbrFitError("The world gives no light: it is black.", "Give it a color or image and a strength.")
        self._arrays["environment"] = np.ascontiguousarray(radiance, dtype=np.float32)

    # Going on ---------------------------------------------------------------------------------------------------

    def poll(self) -> SessionStatus:
        """Move on what has finished, and say where the session is. Blocks only to create the material at the end."""
        if self.status.finished or self.status.state == IDLE:
            return self.status
        try:
            self._advance()
        except PbrFitError as error:
            self._fail(error)
        except Exception as error:
            self._fail(PbrFitError(f"PBRfit itself failed: {error!r}.", "Please report this as a fault."))
            raise
        return self.status

    def _advance(self) -> None:
        if self._fit_result is not None:
            self._apply()
            return
        if self._backend is not None:
            address = self._backend.poll_address()
            if not self._connecting:
                if address is None:
                    return
                self._connect(*address)
        for event in self._client.poll():
            self._take_event(event)
        for finished in self._renderer.poll():
            self._take_rendered(finished)
        self._send()

    def _take_event(self, event: events.Event) -> None:
        if isinstance(event, events.Connected):
            self._connected = True
            self._end_phase("start", RENDERING, "Rendering references", 0.04)
            if self._rendered:
                self._report_rendering()
        elif isinstance(event, events.Progress):
            self._report_fit(event)
        elif isinstance(event, events.Result):
            self._fit_result = event
            self._end_phase("fit", APPLYING, "Creating the material", 0.99)
        elif isinstance(event, events.Failed):
            log = self._backend.last_words() if self._backend is not None and event.code == "internal" else ""
            raise PbrFitError(event.cause + log, event.cure)
        elif isinstance(event, events.Disconnected):
            raise PbrFitError(f"The backend is gone: {event.reason}", "Start the fit again.")
        elif isinstance(event, events.Cancelled):
            raise PbrFitError("The backend cancelled the fit.", "Start it again.")

    def _take_rendered(self, finished: EnvironmentRendered | ViewRendered) -> None:
        if isinstance(finished, EnvironmentRendered):
            self._set_environment(finished.radiance)
            return
        self._ready_views.append(finished)
        self._rendered += 1
        if self._connected:
            self._report_rendering()

    def _send(self) -> None:
        if not self._connected or "environment" not in self._arrays:
            return
        views = self.result.views
        if not self._submitted:
            self._client.submit(self._settings, self._arrays, view_count=len(views))
            self._submitted = True
        while self._ready_views:
            rendered = self._ready_views.popleft()
            self._client.add_view(views[rendered.index].for_renderer(), rendered.image)
        if self.status.state == RENDERING and self._rendered == len(views):
            self._client.end_views()
            self._end_phase("render", FITTING, "Fitting", 0.04 + RENDERING_SHARE)

    def _report_rendering(self) -> None:
        count = len(self.result.views)
        spent = time.monotonic() - self._began
        left = spent / self._rendered * (count - self._rendered)
        fraction = 0.04 + RENDERING_SHARE * self._rendered / count
        self._set_status(RENDERING, f"Rendering references {self._rendered}/{count}", fraction, seconds_left=left)

    def _report_fit(self, event: events.Progress) -> None:
        if self.status.state != FITTING:
            return
        start = 0.04 + RENDERING_SHARE
        message = event.message or event.phase
        first, last = FIT_PHASES.get(event.phase, LAST_PHASES)
        within = first + (last - first) * min(1.0, max(0.0, event.fraction))
        fraction = start + (0.99 - start) * within
        self._set_status(FITTING, message, fraction, event.iteration, event.psnr_db, event.seconds_left)

    def _set_status(
        self,
        state: str,
        message: str,
        fraction: float,
        iteration: int = 0,
        psnr_db: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        fraction = max(fraction, self.status.fraction)  # a bar that goes back says nothing
        self.status = SessionStatus(state, message, fraction, iteration, psnr_db, seconds_left)

    def _end_phase(self, phase: str, state: str, message: str, fraction: float) -> None:
        now = time.monotonic()
        self.result.seconds[phase] = now - self._phase_began
        self._phase_began = now
        self._set_status(state, message, fraction)

    # The artist's wishes ----------------------------------------------------------------------------------------

    @property
    def can_pause(self) -> bool:
        """Whether there is work that can rest, or rests."""
        return self.status.state == FITTING

    def pause(self) -> None:
        """Let the work rest until `go_on`."""
        self._client.pause()
        self.status = replace(self.status, paused=True)

    def go_on(self) -> None:
        """End a pause."""
        self._client.resume()
        self.status = replace(self.status, paused=False)

    @property
    def can_apply_now(self) -> bool:
        """Whether the fit has maps to give."""
        return self.status.state == FITTING and self.status.iteration > 0

    def apply_now(self) -> None:
        """Have the backend end the fit with the maps it has."""
        self._client.finish()

    # Ending -----------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        if bpy.app.is_job_running("RENDER"):
            return  # a render reads the file's materials from its own thread
        result, event = self.result, self._fit_result
        result.files, result.metrics = dict(event.files), dict(event.metrics)
        scene_object = next((item for item in bpy.data.objects if item.session_uid == self._object_uid), None)
        if scene_object is None or scene_object.type != "MESH":
            raise PbrFitError("The object is gone, so its fitted material cannot be assigned.", "Fit it again.")
        if max(self._used_slots) >= len(scene_object.material_slots):
            raise PbrFitError("Material slots of the object were removed during the fit.", "Fit it again.")
        record = {"settings": self._settings.to_dict(), "metrics": result.metrics, "views": len(result.views)}
        assignment = assign.assign(
            scene_object, self._used_slots, result.uv_map, result.files, record, "alpha" in self._settings.maps
        )
        result.material, result.original_materials = assignment.material, assignment.originals
        scene = next((item for item in bpy.data.scenes if item.session_uid == self._scene_uid), None)
        if self._settings.learn_light and self._apply_world and scene and "environment.exr" in result.files:
            result.world = assign.assign_world(scene, scene_object.name, result.files["environment.exr"])
        push_undo("PBRfit: Optimize Materials")
        self._end_phase("apply", DONE, f'Assigned "{result.material}"', 1.0)
        result.seconds["total"] = time.monotonic() - self._began
        psnr = result.metrics.get("fit_heldout_psnr_db")
        self._set_status(DONE, self.status.message, 1.0, result.metrics.get("iterations", 0), psnr)
        self._release()

    def cancel(self) -> None:
        """End the session and its work everywhere; nothing of the file has changed. Finished sessions stay as they are.

        Waits until the renderer is killed and the backend told: milliseconds, at most about a second.
        """
        if not self.status.finished:
            self.status = SessionStatus(CANCELLED, "Cancelled")
            self._release()

    def close(self) -> None:
        """Cancel what runs and free what the session holds. The backend of this Blender stays, for the next fit."""
        self.cancel()
        self._release()

    def _fail(self, error: PbrFitError) -> None:
        self.status = SessionStatus(FAILED, str(error), self.status.fraction, error=error)
        self._release()

    def _release(self) -> None:
        if self._renderer is not None:
            self._renderer.stop()
            self._renderer = None
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def push_undo(message: str) -> None:
    """Make what was just changed one step of undo, where there is undo: in a Blender with a window."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.ed.undo_push(message=message)


_current: OptimizeSession | None = None


def current() -> OptimizeSession | None:
    """The session of this Blender: running, or the last one; None before the first."""
    return _current


def running() -> bool:
    """Whether a fit runs in this Blender."""
    return _current is not None and not _current.status.finished and _current.status.state != IDLE


def start_session(context: bpy.types.Context) -> OptimizeSession:
    """Start a new session in place of the last one. Raises PbrFitError as `OptimizeSession.start`."""
    global _current
    if running():
        raise PbrFitError("A fit is running already.", "Wait for it, or cancel it.")
    _current = OptimizeSession()
    _current.start(context)
    return _current


def end_session() -> None:
    """Close and forget the session, if there is one."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
