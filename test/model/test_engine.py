"""The engine: chroma, coverage and stages."""

import numpy as np
import pytest
from helpers.engines import LUMA, engine

from dreamif_model.backends import Backend, Layers
from dreamif_model.cameras import Both
from dreamif_model.detection_image import detection_luma
from dreamif_model.engine import CHROMA_NOISE, CHROMA_WINDOW, STAGES, FusionEngine
from dreamif_model.errors import ConfigError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import AVERAGE, VARIANTS
from dreamif_ros.scene import Scene, SceneConfig


@pytest.fixture(scope="module")
def scene():
    """A drawn street: visible (240, 320, 3) and infrared (240, 320), both uint8."""
    size = (320, 240)
    drawn = Scene(SceneConfig(visible_size=size, infrared_size=size))
    return drawn.visible(1.0), ThermalNormalizer().normalize(drawn.infrared(1.0))


class Given(Backend):
    """A backend that gives what it was told to."""

    name, device, precision, luma, size_multiple = "given", "cpu", "fp32", True, 1

    def __init__(self, fused, dominance=0.5, removed=None, restored=None):
        maps = np.array((dominance, 1 - dominance), np.float32).reshape(2, 1, 1)
        self.layers = Layers(fused, maps, removed, restored)

    def fuse(self, infrared, visible, restored=False, noise=None):  # noqa: ARG002
        self.seen, self.asked = (infrared.copy(), visible.copy()), restored
        return self.layers


def given(*layers):
    fusing = FusionEngine(AVERAGE)
    fusing.backend = Given(*layers)
    return fusing


class TestChroma:
    """Fused RGB is visible RGB plus the change of its luma, which is the fused luma."""

    @pytest.fixture
    def visible(self, rng):
        return rng.integers(60, 190, (48, 64, 3), dtype=np.uint8)

    def luma(self, visible):
        return np.rint(visible @ LUMA).astype(int)

    def test_the_three_channels_change_alike(self, visible, rng):
        fused = rng.integers(60, 190, (48, 64), dtype=np.uint8)
        result = given(fused).fuse(visible, fused)
        change = result.fused.astype(int) - visible
        inside = ((result.fused > 0) & (result.fused < 255)).all(axis=2)
        assert inside.mean() > 0.5
        np.testing.assert_array_equal(change[inside].max(axis=1), change[inside].min(axis=1))
        expected = fused.astype(int) - self.luma(visible)
        assert np.abs(change[..., 0] - expected)[inside].max() <= 1  # of luma in integers

    def test_what_leaves_the_range_is_saturated(self):
        visible = np.full((4, 4, 3), (250, 100, 5), np.uint8)  # luma 134
        brighter = given(np.full((4, 4), 144, np.uint8)).fuse(visible, visible[..., 0])
        assert brighter.fused[0, 0].tolist() == [255, 110, 15]
        darker = given(np.full((4, 4), 124, np.uint8)).fuse(visible, visible[..., 0])
        assert darker.fused[0, 0].tolist() == [240, 90, 0]

    @pytest.mark.parametrize("variant", ["nano", AVERAGE])
    def test_a_gray_visible_image_gives_a_gray_fused_one(self, variant, rng):
        """Given as (H, W), or as RGB of three equal channels, which is the same image."""
        gray, infrared = rng.integers(0, 256, (2, 37, 53), dtype=np.uint8)
        fusing = engine(variant)
        result = fusing.fuse(gray, infrared).fused
        assert result.shape == (37, 53, 3)
        np.testing.assert_array_equal(result, np.repeat(result[..., :1], 3, axis=2))
        if variant == AVERAGE:  # nothing is restored, so that no chroma is smoothed
            rgb = np.repeat(gray[..., None], 3, axis=2)
            np.testing.assert_array_equal(fusing.fuse(rgb, infrared).fused, result)

    def test_it_is_smoothed_only_where_noise_was_found(self):
        """A checkerboard of two colours is noise of colour: right, where restoration changed much,
        it becomes the mean of both; left, where it changed nothing, it stays as it was."""
        rows, columns = np.indices((64, 128))
        colours = np.array([(140, 100, 100), (100, 120, 100)], np.uint8)  # luma 112 both
        visible = colours[(rows + columns) % 2]
        luma = np.full((64, 128), 112, np.uint8)
        removed = np.zeros((16, 32), np.float32)
        removed[:, 16:] = CHROMA_NOISE
        result = given(luma, 0.5, removed).fuse(visible, luma).fused.astype(int)
        edge = 64  # between both halves; weights are interpolated from windows beside it
        np.testing.assert_array_equal(
            result[:, : edge - CHROMA_WINDOW], visible[:, : edge - CHROMA_WINDOW]
        )
        smooth = result[:, edge + CHROMA_WINDOW :]
        assert np.abs(smooth - (120, 110, 100)).max() <= 1

    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
    def test_how_far_it_is_smoothed_grows_with_the_square_of_the_noise(self, share):
        rows, columns = np.indices((64, 64))
        visible = np.array([(140, 100, 100), (100, 120, 100)], np.uint8)[(rows + columns) % 2]
        luma = np.full((64, 64), 112, np.uint8)
        removed = np.full((16, 16), share * CHROMA_NOISE, np.float32)
        result = given(luma, 0.5, removed).fuse(visible, luma).fused.astype(float)
        weight = share**2 if share > 0.1 else 0  # so little is not seen
        expected = weight * np.array((120, 110, 100)) + (1 - weight) * visible
        assert np.abs(result - expected).max() <= 1.01

    def test_luma_stays_the_networks_where_chroma_is_smoothed(self, visible, rng):
        fused = rng.integers(110, 140, (48, 64), dtype=np.uint8)
        removed = np.ones((12, 16), np.float32)
        result = given(fused, 0.5, removed).fuse(visible, fused).fused
        assert np.abs(self.luma(result) - fused.astype(int)).max() <= 1
        chroma = result.astype(int) - self.luma(result)[..., None]
        before = visible.astype(int) - self.luma(visible)[..., None]
        assert chroma.std() < 0.2 * before.std()


class TestCoverage:
    @pytest.mark.parametrize("variant", ["nano", AVERAGE])
    @pytest.mark.parametrize("gray", [False, True])
    def test_nowhere_everywhere_and_between(self, variant, gray, scene):
        visible, infrared = scene[0][:100, :150], scene[1][:100, :150]
        if gray:
            visible = np.ascontiguousarray(visible[..., 1])
        rgb = np.repeat(visible[..., None], 3, axis=2) if gray else visible
        fusing = engine(variant)
        alone = fusing.fuse(visible, infrared)
        zeros = np.zeros((100, 150), np.float32)
        nowhere = fusing.fuse(visible, infrared, zeros)
        np.testing.assert_array_equal(nowhere.fused, rgb)
        assert (nowhere.dominance[0] == 0).all()
        assert (nowhere.dominance[1] == 1).all()
        everywhere = fusing.fuse(visible, infrared, zeros + 1)
        np.testing.assert_array_equal(everywhere.fused, alone.fused)
        np.testing.assert_allclose(everywhere.dominance, alone.dominance, rtol=0, atol=1e-7)

    def test_the_average_of_a_half(self):
        """Infrared is blended towards the visible luma first, then the fused to the visible."""
        visible, infrared = np.full((4, 4), 40, np.uint8), np.full((4, 4), 200, np.uint8)
        result = engine(AVERAGE).fuse(visible, infrared, np.full((4, 4), 0.5, np.float32))
        assert (result.fused == 60).all()  # infrared 120, average 80, half way back to 40
        np.testing.assert_allclose(result.dominance[0], 0.25)
        np.testing.assert_allclose(result.dominance[1], 0.75)

    def test_where_infrared_does_not_reach_the_network_sees_the_visible_image(self, rng):
        visible = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        infrared = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        coverage = np.zeros((8, 8), np.float32)
        coverage[:, 4:] = 1
        fusing = given(infrared)
        fusing.fuse(visible, infrared, coverage)
        seen, luma = fusing.backend.seen
        np.testing.assert_array_equal(seen[:, :4], luma[:, :4])
        np.testing.assert_array_equal(seen[:, 4:], infrared[:, 4:])


def test_the_stages_are_timed(scene):
    seconds = engine("nano").fuse(*scene).seconds
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())


class TestDetectionImage:
    @pytest.fixture
    def pair(self, rng):
        visible = rng.integers(60, 190, (48, 64, 3), dtype=np.uint8)
        return visible, rng.integers(0, 256, (48, 64), dtype=np.uint8)

    def test_it_is_made_only_if_it_is_asked_for(self, pair):
        fusing = given(pair[1])
        assert fusing.fuse(*pair).detection_image is None
        assert fusing.backend.asked is False
        assert fusing.fuse(*pair, detection_image=True).detection_image.shape == (48, 64, 3)
        assert fusing.backend.asked is True

    def test_it_is_made_of_the_restored_images(self, pair, rng):
        visible, infrared = pair
        restored = Both(*rng.integers(0, 256, (2, 50, 70), dtype=np.uint8))  # padded
        gray = visible[..., 0]
        found = given(infrared, 0.5, None, restored).fuse(gray, infrared, detection_image=True)
        expected = detection_luma(*restored.map(lambda image: image[:48, :64]))
        np.testing.assert_array_equal(found.detection_image, np.dstack([expected] * 3))

    def test_it_is_made_of_the_images_themselves_if_none_are_restored(self, pair):
        visible, infrared = pair
        found = given(infrared).fuse(visible[..., 0], infrared, detection_image=True)
        expected = detection_luma(infrared, visible[..., 0])
        np.testing.assert_array_equal(found.detection_image, np.dstack([expected] * 3))

    def test_it_keeps_the_chroma_of_the_visible_image(self, pair):
        visible, infrared = pair
        found = given(infrared).fuse(visible, infrared, detection_image=True).detection_image
        change = found.astype(int) - visible
        inside = ((found > 0) & (found < 255)).all(axis=2)
        assert inside.mean() > 0.3
        np.testing.assert_array_equal(change[inside].max(axis=1), change[inside].min(axis=1))
        luma = detection_luma(infrared, np.rint(visible @ LUMA).astype(np.uint8))
        assert np.abs(found @ LUMA - luma)[inside].max() < 4  # of luma in integers, twice

    def test_where_infrared_does_not_reach_heat_does_not_count(self, pair):
        visible, infrared = pair
        coverage = np.zeros((48, 64), np.float32)
        gray = visible[..., 0]
        found = given(gray).fuse(gray, infrared, coverage, detection_image=True).detection_image
        np.testing.assert_array_equal(found[..., 0], detection_luma(gray, gray, coverage))


def test_the_average_takes_no_weights():
    """But an empty name, as the node's parameter has it, is none."""
    FusionEngine(AVERAGE, "cpu", weights="")
    with pytest.raises(ConfigError, match="average has no network: weights a"):
        FusionEngine(AVERAGE, "cpu", weights="a.safetensors")


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("base", "released")])
def test_every_variant_runs(variant, rng):
    visible = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    fused = engine(variant).fuse(visible, rng.integers(0, 256, (37, 53), dtype=np.uint8))
    assert fused.fused.shape == visible.shape
    assert fused.dominance.shape == (2, 37, 53)
