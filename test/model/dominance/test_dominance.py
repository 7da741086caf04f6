"""Dominance maps mean something: checked on the simulated street, whose truth is known."""

import numpy as np
import pytest

from dreamif_model import FusionPipeline
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_ros.scene import Scene

pytestmark = pytest.mark.slow
TIMES = np.arange(0, 20, 1.0)  # seconds
NOISE = DegradationSpec.parse(["gaussian:25"])


@pytest.fixture(scope="module", params=["nano", "tiny"])
def pipeline(request):
    return FusionPipeline(request.param, "cpu")


@pytest.fixture(scope="module")
def scene():
    return Scene()


def people_in_the_dark(scene, time):
    """(H, W), true on the middle half of the boxes, where the person is."""
    width, height = scene.config.visible_size
    mask = np.zeros((height, width), bool)
    for box in scene.boxes(time):
        if box.label == "person" and box.dark:
            left, top = int(box.x + box.width / 4), int(box.y)
            mask[top : int(box.y + box.height), left : left + max(1, int(box.width / 2))] = True
    return mask


def test_infrared_dominates_on_people_in_the_dark(pipeline, scene):
    above = []
    for time in TIMES:
        mask = people_in_the_dark(scene, time)
        result = pipeline.fuse(visible=scene.visible(time), infrared=scene.infrared(time))
        dominance = result.dominance_infrared
        above.append(dominance[mask].mean() > np.median(dominance[~mask]))
    assert np.mean(above) >= 0.95


def test_noise_lowers_the_dominance_of_its_modality(pipeline, scene, generator):
    for time in TIMES[::5]:
        infrared = pipeline.normalizer.normalize(scene.infrared(time))
        visible = scene.visible(time)
        clean = pipeline.fuse(visible=visible, infrared=infrared)
        noisy = NOISE.apply(visible, "visible", generator)
        without_visible = pipeline.fuse(visible=noisy, infrared=infrared)
        assert without_visible.dominance_visible.mean() < clean.dominance_visible.mean()
        noisy = NOISE.apply(infrared, "infrared", generator)
        without_infrared = pipeline.fuse(visible=visible, infrared=noisy)
        assert without_infrared.dominance_infrared.mean() < clean.dominance_infrared.mean()
