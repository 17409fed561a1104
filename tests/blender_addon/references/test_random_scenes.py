"""Random scenes: what is exported looks like what is rendered, and like what the artist's scene renders, or is refused.

The judge is a ray cast against the exported triangles. PBRFIT_RANDOM_SCENES=200 tries more scenes than the few of each run.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 (after the check that it is there)
from hypothesis import strategies as st  # noqa: E402
from scenes import random_scenes, truth  # noqa: E402 (they need bpy)
from support.blender import second_blender  # noqa: E402

SCENES_AT_ONCE = 5  # in one second Blender
WANTED = int(os.environ.get("PBRFIT_RANDOM_SCENES", "10"))
LEAST_AGREEMENT = 0.98
LATE = "refused by the second Blender"
SIZE, VIEWS, SAMPLES = 64, 2, 16

NAMES = st.one_of(
    st.sampled_from(
        ["Thing", "Thing.001", " Thing ", "物", "Ünï cödé", "a/b\\c", 'quo"te', "..", "%s{0}", "RNA.path[0]"]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12),
)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(round(low * 64), round(high * 64)).map(lambda number: number / 64)  # short in a message


def vectors(low: float, high: float) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(*[numbers(low, high)] * 3)


SCALES = st.tuples(*[st.one_of(numbers(0.3, 3.0), numbers(-2.0, -0.5))] * 3)
PLACES = st.builds(random_scenes.Place, vectors(-3.0, 3.0), vectors(-3.0, 3.0), SCALES)
STEPS = st.builds(
    random_scenes.Step,
    st.sampled_from([*random_scenes.MODIFIERS, *random_scenes.NODES]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True, True, True, False]),
)
RENDER = st.fixed_dictionaries(
    {},
    optional={
        "engine": st.sampled_from(["CYCLES", "BLENDER_WORKBENCH"]),
        "resolution_x": st.integers(16, 3000),
        "resolution_y": st.integers(16, 3000),
        "resolution_percentage": st.integers(1, 200),
        "pixel_aspect_x": numbers(1.0, 4.0),
        "pixel_aspect_y": numbers(1.0, 4.0),
        "use_border": st.booleans(),
        "use_crop_to_border": st.booleans(),
        "border_min_x": numbers(0.1, 0.4),
        "border_max_x": numbers(0.5, 0.9),
        "film_transparent": st.booleans(),
        "filter_size": numbers(0.1, 10.0),
        "use_motion_blur": st.booleans(),
        "use_multiview": st.booleans(),
        "use_overwrite": st.booleans(),
        "use_placeholder": st.booleans(),
        "use_single_layer": st.booleans(),
        "use_stamp": st.booleans(),
        "use_persistent_data": st.booleans(),
    },
)
FLAGS = st.fixed_dictionaries(
    {},
    optional={
        name: st.booleans()
        for name in (
            "hide_render",
            "visible_camera",
            "visible_shadow",
            "is_holdout",
            "is_shadow_catcher",
            "hide_select",
        )
    },
)
RECIPES = st.builds(
    random_scenes.Recipe,
    shape=st.sampled_from(sorted(random_scenes.SHAPES)),
    place=PLACES,
    parents=st.lists(PLACES, max_size=2).map(tuple),
    steps=st.lists(STEPS, min_size=1, max_size=4).map(tuple),
    names=st.tuples(NAMES, NAMES, NAMES),
    nodes=st.lists(st.sampled_from(random_scenes.SHADERS), max_size=5).map(tuple),
    links=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), max_size=5).map(tuple),
    frame=st.integers(1, 200),
    fps=st.integers(1, 120),
    simplify=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
    render=RENDER,
    flags=FLAGS,
    camera=st.none() | PLACES,
    crowd=st.integers(0, 2),
    second_layer=st.booleans(),
    second_scene=st.booleans(),
)


def open_file(extension: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=extension)
    preferences = bpy.context.preferences.addons[extension].preferences
    preferences.backend_python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable


def prepared(
    extension: str, recipe: random_scenes.Recipe, folder: Path
) -> tuple[dict[str, Any], truth.Triangles] | str:
    """The plan of a scene for the second Blender, and what its own scene renders; or the cause of a refusal."""
    open_file(extension)
    thing = random_scenes.build(recipe)
    errors = importlib.import_module(f"{extension}.common.errors")
    prepare = importlib.import_module(f"{extension}.session.prepare")
    fit = refusal = None
    try:
        (fit,) = prepare.prepare_fits(bpy.context, folder, lambda _share: None)
    except errors.PbrFitError as error:
        refusal = error
    if refusal is not None:
        assert refusal.cause.strip()
        assert refusal.cure.strip()
        return str(refusal.cause)
    plan = second_blender.small(fit.render_plan, VIEWS, SIZE, SAMPLES)
    return plan, truth.rendered_triangles(thing, bpy.context.scene)


def test_random_scenes_are_exported_as_they_are_rendered(installed_extension: str) -> None:
    process, views = (
        importlib.import_module(f"{installed_extension}.references.{name}") for name in ("process", "views")
    )
    seen: Counter[str] = Counter()

    @settings(
        max_examples=max(1, WANTED // SCENES_AT_ONCE),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # to shrink takes a second Blender each time
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(RECIPES, min_size=SCENES_AT_ONCE, max_size=SCENES_AT_ONCE))
    def try_scenes(recipes: list[random_scenes.Recipe]) -> None:
        with tempfile.TemporaryDirectory(prefix="pbrfit_random_") as temporary:
            found = []
            for number, recipe in enumerate(recipes):
                folder = Path(temporary) / str(number)
                folder.mkdir()
                result = prepared(installed_extension, recipe, folder)
                if isinstance(result, str):
                    seen[f"refused: {result}"] += 1
                else:
                    found.append((recipe, *result))
            if not found:
                return
            outcomes = second_blender.render(process, views, [plan for _, plan, _ in found], Path(temporary))
            for (recipe, _, own), outcome in zip(found, outcomes, strict=True):
                seen[judge(recipe, own, outcome)] += 1

    try_scenes()
    print(*(f"{count} {what}" for what, count in seen.most_common()), sep="\n")
    assert seen["exported"] >= 0.5 * seen.total()
    # What can be told before the fit begins should be told there.
    assert sum(count for what, count in seen.items() if what.startswith(LATE)) <= 0.1 * seen.total()


def judge(recipe: random_scenes.Recipe, own: truth.Triangles, outcome: second_blender.Outcome) -> str:
    """ "exported", or why the second Blender refuses; fails where the outlines differ."""
    if outcome.error is not None:
        assert all(text.strip() for text in outcome.error)
        return f"{LATE}: {outcome.error[0]}"
    exported = truth.outlines(outcome.positions, outcome.arrays["triangles"], outcome.views, SIZE)
    shown = truth.outlines(own.positions, own.corners, outcome.views, SIZE)
    opaque = np.stack(outcome.images)[..., 3]
    assert truth.agreement(exported, opaque) >= LEAST_AGREEMENT, f"exported and rendered differ: {recipe}"
    assert truth.agreement(shown, opaque) >= LEAST_AGREEMENT, f"the artist's scene shows another mesh: {recipe}"
    return "exported"
