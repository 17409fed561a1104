"""Which candidate is kept: by errors without noise, never one that is worse in a light."""

from __future__ import annotations

import numpy as np
import pytest

SHAPE = (40, 40, 4)
EVERYWHERE = np.ones(SHAPE[:2], bool)


@pytest.fixture
def errors(addon):
    return addon.comparing.errors


def renders(seed: int, offset: float = 0.0, noise: float = 0.05) -> list[np.ndarray]:
    """Two noisy renders of a gray surface."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(2):
        image = np.full(SHAPE, 0.4 + offset, np.float32)
        image[..., :3] += generator.normal(0.0, noise, (*SHAPE[:2], 3))
        images.append(image)
    return images


def found(errors, *offsets: float, lights: tuple[str, ...] = ("own", "unseen")) -> dict[str, np.ndarray]:
    """What a candidate with these offsets is in each light."""
    return {
        light: errors.products(renders(0), renders(number + 1, offset), EVERYWHERE)
        for number, (light, offset) in enumerate(zip(lights, offsets, strict=True))
    }


def test_noise_is_no_error(errors) -> None:
    """0.02 of 0.4 is 5.0 of 255 in sRGB: 34.2 dB, in noise that alone would give 26 dB."""
    error = errors.products(renders(0), renders(1, 0.02), EVERYWHERE)
    step = errors.encoded(np.array(0.42)) - errors.encoded(np.array(0.4))
    assert errors.decibels(error) == pytest.approx(-20 * np.log10(step), abs=1.5)
    assert errors.decibels(errors.products(renders(0), renders(1), EVERYWHERE)) > 38


@pytest.mark.parametrize(
    ("own", "unseen", "kept"),
    [
        ((0.05, 0.01), (0.05, 0.01), "FIT"),
        ((0.05, 0.01), (0.01, 0.05), "BAKE"),  # better in its own light, worse in another
        ((0.01, 0.05), (0.05, 0.01), "BAKE"),
        ((0.01, 0.05), (0.01, 0.05), "BAKE"),
    ],
)
def test_the_fit_is_kept_only_where_it_is_worse_in_no_light(errors, own, unseen, kept) -> None:
    choice = errors.choose({"BAKE": found(errors, own[0], unseen[0]), "FIT": found(errors, own[1], unseen[1])})
    assert choice.kept == kept
    scores = choice.to_json()["scores"]
    assert set(scores) == {"own", "unseen"}
    assert set(scores["own"]) == {"bake_db", "fit_db"}


@pytest.mark.parametrize(
    ("offsets", "kept"),
    [
        ((0.05, 0.03, 0.01), "ROUND_1"),
        ((0.05, 0.01, 0.03), "FIT"),  # a round that does not gain is not kept
        ((0.03, 0.05, 0.01), "ROUND_1"),  # the fit alone was worse than the bake
        ((0.01, 0.05, 0.03), "BAKE"),
    ],
)
def test_a_round_is_kept_only_where_it_gains(errors, offsets, kept) -> None:
    looks = {
        look: found(errors, offset, offset) for look, offset in zip(("BAKE", "FIT", "ROUND_1"), offsets, strict=True)
    }
    choice = errors.choose(looks)
    assert choice.kept == kept
    assert set(choice.to_json()["scores"]["own"]) == {"bake_db", "fit_db", "round_1_db"}


def test_a_difference_that_noise_can_explain_keeps_the_bake(errors) -> None:
    same = {"own": errors.products(renders(0), renders(1), EVERYWHERE)}
    assert errors.choose({"BAKE": same, "FIT": same}).kept == "BAKE"


def test_a_single_candidate_is_kept_and_measured(errors) -> None:
    choice = errors.choose({"FIT": found(errors, 0.02, 0.02)})
    assert choice.kept == "FIT"
    assert choice.to_json()["scores"]["own"]["fit_db"] == pytest.approx(34.2, abs=2.5)


def near_scores(errors, offset: float, spot: float = 0.0):
    """Of a bake that is off everywhere, and in one corner of one of two views: in two lights."""
    corner = renders(3, spot)
    views = [errors.products(renders(0), renders(1, offset), EVERYWHERE) for _ in range(2)]
    local = errors.products(renders(0), corner, EVERYWHERE).reshape(*SHAPE[:2], 3)
    views[1] = views[1].reshape(*SHAPE[:2], 3)
    views[1][:16, :16] = local[:16, :16]
    shown = [(views[0], EVERYWHERE), (views[1].reshape(-1, 3), EVERYWHERE)]
    return [errors.near_score(shown)] * 2


def test_a_bake_is_near_enough_only_where_it_is_near_everywhere(errors) -> None:
    near, far, spotted = near_scores(errors, 0.01), near_scores(errors, 0.05), near_scores(errors, 0.0, 0.2)
    assert near[0].decibels == pytest.approx(40.0, abs=3.0)
    assert errors.is_near(near, 36.0)
    assert not errors.is_near(far, 36.0)
    assert spotted[0].worst_db < 20.0 < spotted[0].decibels
    assert not errors.is_near(spotted, spotted[0].decibels - 1.0)
    assert errors.all_near([near, []], 36.0)  # no view shows the second set
    assert not errors.all_near([near, far], 36.0)
    assert not errors.all_near([[], []], 36.0)


def test_what_is_nearer_than_the_noise_has_no_worst_block(errors) -> None:
    assert min(score.worst_db for score in near_scores(errors, 0.0)) > 30.0


def test_renders_come_back_from_their_file(addon, tmp_path) -> None:
    path = str(tmp_path / "shots.npz")
    assert addon.comparing.shots.load_shots(path) == {}
    shots = {"ORIGINAL": {"own": [renders(0), renders(1)]}, "BAKE": {"own": [renders(2), renders(3)]}}
    addon.comparing.shots.save_shots(path, shots)
    found = addon.comparing.shots.load_shots(path)
    assert found.keys() == shots.keys()
    assert all(np.array_equal(found[look]["own"], shots[look]["own"]) for look in shots)


def test_a_fit_that_fills_the_holes_of_a_leaf_is_not_kept(addon) -> None:
    """It is nearer where the leaf is opaque; where one sees through, the original and the bake show nothing."""
    holes = np.zeros(SHAPE[:2], bool)
    holes[:, 30:] = True

    def look(seed: int, offset: float, fills: bool) -> dict[str, list[list[np.ndarray]]]:
        images = renders(seed, offset)
        for image in images:
            image[..., 3] = 1.0
            if not fills:
                image[holes] = 0.0
        return {light: [[image] for image in images] for light in ("own", "unseen")}

    for fills, kept in ((False, "FIT"), (True, "BAKE")):
        shots = {"ORIGINAL": look(0, 0.0, False), "BAKE": look(1, 0.05, False), "FIT": look(2, 0.01, fills)}
        assert addon.comparing.plan_work.choice_of(shots, [EVERYWHERE], ["BAKE", "FIT"]).kept == kept
