import numpy as np
import pytest
import torch

from dreamif_model.cameras import Camera
from dreamif_model.degradations.degrade import degrade
from dreamif_model.degradations.spec import DegradationSpec, parse_degradation
from dreamif_model.errors import ConfigError


@pytest.mark.parametrize(
    ("texts", "infrared", "visible"),
    [
        ([], (), ()),
        (["gaussian:35"], (("gaussian", 35.0),), (("gaussian", 35.0),)),
        (["infrared=stripes:8"], (("stripes", 8.0),), ()),
        (
            ["infrared=stripes:8, jpeg:30", "blur:1.5", "visible=rain:0.5"],
            (("stripes", 8.0), ("jpeg", 30.0), ("blur", 1.5)),
            (("blur", 1.5), ("rain", 0.5)),
        ),
    ],
)
def test_parse(texts, infrared, visible):
    assert DegradationSpec.parse(texts) == DegradationSpec(infrared, visible)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gaussian", "degradation 'gaussian': expected NAME:STRENGTH, such as gaussian:35"),
        ("", "degradation '': expected NAME:STRENGTH"),
        ("gaussian:35,", "degradation '': expected NAME:STRENGTH"),
        ("gaussian:loud", "degradation 'gaussian:loud': expected NAME:STRENGTH"),
        ("fog:3", "unknown degradation 'fog': choose one of haze, rain"),
        ("infrared=fog:3", "unknown degradation 'fog'"),
        ("jpeg:101", r"the strength of jpeg \(quality\) must be from 1 to 100, got 101"),
        ("radar=gaussian:35", "is for 'radar', expected infrared or visible"),
        ("=gaussian:35", "is for '', expected infrared or visible"),
        ("infrared=visible=blur:1", "is for 'infrared=visible', expected"),
    ],
)
def test_parse_refuses(text, words):
    with pytest.raises(ConfigError, match=words):
        DegradationSpec.parse(["blur:1", text])


def test_parse_degradation():
    assert parse_degradation("gaussian:35") == ("gaussian", 35.0)


@pytest.mark.parametrize("shape", [(31, 45), (31, 45, 3)])
def test_apply_is_degrade_step_by_step_rounded_once(shape, rng, generator):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    spec = DegradationSpec.parse(["visible=blur:1,gaussian:10"])
    shown = spec.apply(image, Camera.VISIBLE, generator)
    expected = torch.from_numpy(image).float() / 255
    expected = expected if image.ndim == 2 else expected.permute(2, 0, 1)
    again = torch.Generator().manual_seed(0)
    for name, strength in spec.visible:
        expected = degrade(expected, name, strength, again)
    planes = shown if image.ndim == 2 else shown.transpose(2, 0, 1)
    np.testing.assert_array_equal(planes, (expected * 255).round().numpy())
    assert shown.dtype == np.uint8
    assert spec.apply(image, Camera.INFRARED, generator) is image


@pytest.mark.parametrize("text", ["gaussian:35", "infrared=gaussian:35", "visible=gaussian:35"])
def test_random_numbers_are_those_of_the_seed(text):
    found = DegradationSpec.parse([text]).generator(7)
    assert torch.equal(found.get_state(), torch.Generator().manual_seed(7).get_state())


def test_images_that_stay_clean_need_no_random_numbers(rng):
    clean = DegradationSpec()
    image = rng.integers(0, 256, (4, 5), dtype=np.uint8)
    assert clean.generator(7) is None
    assert clean.apply(image, Camera.VISIBLE, None) is image
