"""The verdict on a result: what the record measures decides, and what it knows of the cause."""

from __future__ import annotations

import json

import pytest

PLAIN = {"Paint": {"kind": "COMPOSITE", "lost": [], "keeper": ""}}


def verdict(addon, **record):
    return addon.session.result_verdict.verdict_of_record(json.dumps({"kind": "fit", **record}))


def compared(own: float, unseen: float, bake: float = 12.0) -> dict:
    scores = {light: {"bake_db": bake, "fit_db": value} for light, value in (("own", own), ("unseen", unseen))}
    return {"compared": [{"kept": "FIT", "scores": scores}], "nodes": PLAIN, "light": "BOTH"}


@pytest.mark.parametrize(
    ("own", "unseen", "grade"),
    [(39.7, 38.0, "GOOD"), (30.0, 31.0, "GOOD"), (33.0, 29.9, "FAIR"), (25.0, 25.0, "FAIR"), (18.9, 24.0, "POOR")],
)
def test_the_light_that_shows_the_greatest_difference_decides(addon, own, unseen, grade) -> None:
    found = verdict(addon, **compared(own, unseen))
    assert (found.grade, found.decibels) == (grade, min(own, unseen))
    assert any(f"{own:.1f} dB" in line or f"fit {own:.1f}" in line for line in found.details)
    assert "dB" not in found.cause


def test_without_a_comparison_views_that_the_fit_did_not_use_decide(addon) -> None:
    found = verdict(addon, metrics={"fit_heldout_psnr_db": 26.3}, scene_settings={"quality": "draft", "samples": 2})
    assert (found.grade, found.remedy) == ("FAIR", "STANDARD")
    assert "noise" in found.cause
    assert "26.3 dB" in found.details[0]
    assert verdict(addon, metrics={}).grade == "UNKNOWN"


def test_only_the_own_sets_of_a_material_count(addon) -> None:
    record = compared(20.0, 20.0)
    record["compared"] += compared(40.0, 40.0)["compared"]
    assert verdict(addon, **record, numbers=[1]).grade == "GOOD"
    assert verdict(addon, **record, numbers=[0, 1]).grade == "POOR"


@pytest.mark.parametrize(
    ("record", "words", "remedy"),
    [
        (
            {"nodes": {"A": {"kind": "EXACT", "lost": ["a coat", "sheen"], "keeper": "GLTF"}}},
            "a coat and sheen",
            "GLTF",
        ),
        ({"nodes": {"A": {"kind": "VIEW", "lost": [], "keeper": ""}}}, "changes with the view", ""),
        ({"lack": "its world is black"}, "its world is black", "STUDIO"),
        (compared(24.9, 12.0), "only the light that it was fitted in", "STUDIO"),
        ({"scene_settings": {"learn_light": True}, "light": "SCENE"}, "learned light", "STUDIO"),
        ({"metrics": {"texels_unseen": 0.25}, "scene_settings": {"views": 60}}, "No view sees 25%", "VIEWS"),
        ({"metrics": {"texels_unseen": 0.25}, "unseen_share": 0.15}, "No view sees 15%", "VIEWS"),
        ({"scene_settings": {"start": "GRAY"}}, "began with gray", "FROM_BAKE"),
        (compared(20.3, 20.0, bake=19.9), "hardly nearer than the bake", "KEEP_BAKE"),
        ({"scene_settings": {"quality": "draft", "samples": 8}}, "Draft is a first look", "STANDARD"),
        ({"scene_settings": {"quality": "standard"}}, "Standard takes fewer", "HIGH"),
        ({"nodes": {"A": {"kind": "EXACT", "lost": ["a tint"], "keeper": ""}}}, "No map can hold a tint", ""),
        ({}, "cannot look nearer", ""),
    ],
)
def test_the_likely_cause_and_what_one_click_does_about_it(addon, record, words, remedy) -> None:
    found = verdict(addon, **(compared(20.0, 20.0) | record))
    assert found.grade == "POOR"
    assert words in found.cause
    assert found.remedy == remedy
    assert remedy in {"", *addon.session.result_verdict.REMEDIES}


def test_a_bake_that_decided_is_good(addon) -> None:
    assert verdict(addon, exact=True, metrics={}).grade == "GOOD"
    choice = {"kept": "BAKE", "scores": {"own": {"bake_db": 39.0}, "unseen": {"bake_db": 38.5}}}
    assert verdict(addon, compared=[choice]).grade == "GOOD"


@pytest.mark.parametrize(
    ("kind", "lost", "keeper", "grade", "remedy"),
    [
        ("EXACT", [], "", "GOOD", ""),
        ("EXACT", ["a coat"], "GLTF", "FAIR", "GLTF"),
        ("COMPOSITE", [], "", "FAIR", "FIT"),
        ("VIEW", [], "", "FAIR", "FIT"),
    ],
)
def test_of_a_bake_its_nodes_decide(addon, kind, lost, keeper, grade, remedy) -> None:
    nodes = {"A": {"kind": kind, "lost": lost, "keeper": keeper}}
    found = verdict(addon, kind="bake", target="CORE", nodes=nodes)
    assert (found.grade, found.remedy) == (grade, remedy)
    assert verdict(addon, kind="bake", target="CORE").grade == "UNKNOWN"  # of an earlier version


def test_what_a_remedy_changes(addon) -> None:
    made_with = {"quality": "draft", "views": 500, "samples": 2, "resolution": 4096, "start": "GRAY"}
    changed = addon.session.result_verdict.changed_settings
    standard = changed("STANDARD", made_with)
    assert (standard["quality"], standard["views"], standard["resolution"]) == ("standard", 500, 4096)
    assert standard["samples"] > 2
    assert changed("HIGH", made_with)["quality"] == "high"
    assert changed("VIEWS", {"views": 60}) == {"views": 120}
    assert changed("STUDIO", made_with) == {"reference_light": "STUDIO", "learn_light": False}
    assert changed("GLTF", made_with) == {"bake_target": "GLTF", "start": "BAKE"}
    assert changed("KEEP_BAKE", made_with) == {}
