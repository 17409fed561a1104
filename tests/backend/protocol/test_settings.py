from __future__ import annotations

import dataclasses
import json

import pytest

from backend.protocol.settings import FitSettings, SettingsError


def test_settings_survive_json():
    settings = FitSettings(512, ("alpha", "kd"), True, "cuda:1", 7, "draft", "nvdiffrec", False, margin=16)
    assert FitSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert FitSettings.from_dict({}) == FitSettings()


def test_what_earlier_servers_do_not_know_is_not_sent_where_it_changes_nothing():
    assert "margin" not in FitSettings().to_dict()
    assert FitSettings(margin=0).to_dict()["margin"] == 0


def test_maps_are_kept_in_one_order_so_that_equal_settings_are_equal():
    assert FitSettings(maps=["normal", "kd"]).maps == ("kd", "normal")


@pytest.mark.parametrize("resolution", [16, 1024, 8192])
def test_powers_of_two_are_resolutions(resolution):
    assert FitSettings(resolution=resolution).resolution == resolution


@pytest.mark.parametrize(
    ("given", "kept", "size"),
    [([2048, 1024], (2048, 1024), (1024, 2048)), ((16, 128), (16, 128), (128, 16)), ([512, 512], 512, (512, 512))],
)
def test_maps_may_be_wider_or_higher(given, kept, size):
    settings = FitSettings(resolution=given)
    assert (settings.resolution, settings.map_size) == (kept, size)
    assert FitSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices_are_accepted(device):
    assert FitSettings(device=device).device == device


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("resolution", 1000, "power of two"),
        ("resolution", 8, "16 to 8192"),
        ("resolution", 16384, "16 to 8192"),
        ("resolution", 1024.0, "power of two"),
        ("resolution", True, "power of two"),
        ("resolution", [2048, 1000], "power of two"),
        ("resolution", [2048], "width and height"),
        ("resolution", [2048, 128], "8 times"),
        ("resolution", "2048x1024", "width and height"),
        ("maps", ["ks", "normal"], "kd"),
        ("maps", ["kd", "kd"], "once"),
        ("maps", ["kd", "height"], "alpha"),
        ("maps", "kd", "kd"),
        ("maps", [["kd"]], "kd"),
        ("learn_light", 1, "true or false"),
        ("device", "cuda:", "cuda:N"),
        ("device", "mps", "cpu"),
        ("device", "cpu\n", "cpu"),
        ("device", None, "auto"),
        ("seed", -1, "0 to"),
        ("seed", 2**31, "0 to"),
        ("quality", "best", "draft, standard, high"),
        ("quality", ["draft"], "draft"),
        ("shading", "phong", "principled"),
        ("self_shadowing", "yes", "true or false"),
        ("margin", -1, "0 to"),
        ("margin", 1025, "1024"),
        ("margin", "all", "none"),
        ("sheen", 1, "resolution"),
    ],
)
def test_a_bad_setting_is_refused_by_name_value_and_what_is_allowed(field, value, allowed):
    with pytest.raises(SettingsError) as caught:
        FitSettings.from_dict({field: value})
    assert (caught.value.field, caught.value.value) == (field, value)
    assert allowed in caught.value.allowed
    assert field in str(caught.value)
    assert repr(value) in str(caught.value)


def test_settings_cannot_be_changed_past_their_checks():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FitSettings().resolution = 3


def test_settings_must_be_an_object():
    with pytest.raises(SettingsError, match="JSON object"):
        FitSettings.from_dict([1])
