"""Fusion of images that a calibration maps to each other."""

import cv2
import numpy as np
import pytest
import torch
from helpers.calibrations import SHAPE, calibration, shift

from dreamif_model import FusionPipeline, ThermalConfig
from dreamif_model.backends import Layers
from dreamif_model.engine import FusionEngine
from dreamif_model.errors import ImageError
from dreamif_model.network import make_network
from dreamif_model.registration.warp import Registrar
from dreamif_model.variants import network_config


class TestFusion:
    half = calibration(shift(32, 0))  # infrared reaches the right half

    def pair(self, rng):
        visible = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
        return {"visible": visible, "infrared": rng.integers(0, 256, SHAPE, dtype=np.uint8)}

    @pytest.mark.parametrize("variant", ["average", "nano"])
    def test_what_infrared_does_not_reach_is_the_visible_image(self, variant, nano_weights, rng):
        weights = nano_weights if variant == "nano" else None
        images = self.pair(rng)
        result = FusionPipeline(variant, "cpu", weights, registration=self.half).fuse(**images)
        np.testing.assert_array_equal(result.fused[:, :32], images["visible"][:, :32])
        assert (result.dominance_infrared[:, :32] == 0).all()
        assert (result.dominance_visible[:, :32] == 1).all()
        assert (result.dominance_infrared[:, 50:] > 0).all()
        assert result.timings.keys() == {"normalize", "warp", "infer"}

    def test_no_shift_is_no_registration(self, nano_weights, rng):
        images = self.pair(rng)
        plain = FusionPipeline("nano", "cpu", nano_weights).fuse(**images)
        same = calibration(np.eye(3))
        result = FusionPipeline("nano", "cpu", nano_weights, registration=same).fuse(**images)
        assert np.abs(result.fused.astype(int) - plain.fused).max() <= 1
        np.testing.assert_allclose(result.dominance_infrared, plain.dominance_infrared, atol=1e-4)

    def test_a_read_only_visible_image_can_be_scored(self, rng):
        images = self.pair(rng)
        fusing = FusionPipeline("average", "cpu", registration=self.half)
        for visible in (images["visible"], images["visible"][..., 1].copy()):
            visible.flags.writeable = False  # torch would warn
            result = fusing.fuse(visible, images["infrared"], score_alignment=True)
            assert -1 <= result.alignment <= 1

    def test_the_average_of_the_shifted(self):
        """Where covered in full: the mean of visible and the infrared 32 pixels to its left."""
        visible = np.full(SHAPE, 100, np.uint8)
        infrared = np.tile(np.arange(64, dtype=np.uint8) * 2, (48, 1))
        result = FusionPipeline("average", "cpu", registration=self.half).fuse(visible, infrared)
        expected = (100 + infrared[:, 17:32].astype(float)) / 2
        assert result.fused[:, 49:, 0] == pytest.approx(expected, abs=0.51)

    def test_no_seam(self):
        """Flat images of far apart grays: the steps are those of the feather, none is a jump."""
        visible, infrared = np.full(SHAPE, 200, np.uint8), np.zeros(SHAPE, np.uint8)
        result = FusionPipeline("average", "cpu", registration=self.half).fuse(visible, infrared)
        row = result.fused[20, :, 0].astype(int)
        steps = np.abs(np.diff(row))
        # From 200 to 100 by s (2 − s), s the smoothstep over 17 pixels: 1.5 / 17 · 2 at most.
        assert (row[:32] == 200).all()
        assert (row[49:] == 100).all()
        assert steps.max() <= 100 * 2 * 1.5 / 17
        assert np.abs(np.diff(result.dominance_infrared[20])).max() <= 0.5 * 1.5 / 17 + 1e-6

    def test_rgb_variants_too(self, rng):
        """The released network fuses RGB; its structure alone is too large for a test."""
        engine = FusionEngine("average", "cpu")
        engine.backend.luma = False  # the mean of RGB and infrared, three times
        engine.backend.fuse = lambda infrared, rgb, *_: Layers(
            cv2.addWeighted(cv2.cvtColor(infrared, cv2.COLOR_GRAY2RGB), 0.5, rgb, 0.5, 0),
            np.full((2, 1, 1), 0.5, np.float32),
            None,
        )
        images = self.pair(rng)
        warp = Registrar(self.half).warp(SHAPE, SHAPE)
        output = engine.fuse(images["visible"], warp(images["infrared"]), warp.coverage)
        np.testing.assert_array_equal(output.fused[:, :32], images["visible"][:, :32])
        inside = images["infrared"][:, 17:32, None].astype(float) + images["visible"][:, 49:]
        assert output.fused[:, 49:] == pytest.approx(inside / 2, abs=0.51)

    def test_the_alignment_is_scored_where_asked_for(self, smooth):
        """Infrared is the inverted visible image, 6 pixels to its left."""
        visible = np.rint(255 * smooth).astype(np.uint8)
        infrared = 255 - np.roll(visible, -6, axis=1)
        scores = []
        for registration in (calibration(shift(6, 0)), None):
            fusing = FusionPipeline("average", "cpu", registration=registration)
            assert fusing.fuse(visible, infrared).alignment is None
            scores.append(fusing.fuse(visible, infrared, score_alignment=True).alignment)
        assert scores[0] > 0.9
        assert scores[1] < 0.6

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_what_was_measured_on_the_visible_pixels(self, rng, dtype):
        """Infrared has three quarters of the visible size; no value is interpolated."""
        scaled = calibration(np.diag((4 / 3, 4 / 3, 1)) @ shift(8.1, 4.1), (48, 36))
        values = rng.integers(1, 256, (36, 48)).astype(dtype)
        fusing = FusionPipeline("average", "cpu", registration=scaled)
        visible = self.pair(rng)["visible"]
        measured = fusing.fuse(visible, values).measured()
        assert measured.dtype == dtype
        expected = np.full(SHAPE, np.nan if dtype == np.float32 else 0, dtype)
        for y, x in np.ndindex(SHAPE):
            row, column = round(0.75 * y - 4.1), round(0.75 * x - 8.1)
            if row >= 0 and column >= 0:
                expected[y, x] = values[row, column]
        np.testing.assert_array_equal(measured, expected)
        alone = fusing.infrared_alone(values, SHAPE).measured()
        np.testing.assert_array_equal(alone, measured)
        assert fusing.visible_alone(visible).measured is None

    def test_finer_infrared_is_not_averaged(self, rng):
        """Nor a pixel between cold and hot made up, as a mean of both would."""
        registration = calibration(np.diag((0.25, 0.25, 1)), (256, 192))
        values = rng.choice(np.array((7000, 9000), np.uint16), (192, 256))
        fusing = FusionPipeline("average", "cpu", registration=registration)
        measured = fusing.fuse(self.pair(rng)["visible"], values).measured()
        assert set(np.unique(measured)) == {7000, 9000}

    def test_without_a_registration_it_is_resized(self, rng):
        values = rng.integers(7000, 9000, (24, 32), dtype=np.uint16)
        measured = FusionPipeline("average", "cpu").fuse(self.pair(rng)["visible"], values).measured
        np.testing.assert_array_equal(measured(), values.repeat(2, axis=0).repeat(2, axis=1))

    def test_rows_that_are_cut_off_are_no_measurement(self, rng):
        """The calibration is for what the crop leaves."""
        registration = calibration(np.eye(3), (64, 46), (64, 46))
        values = rng.integers(7000, 9000, SHAPE, dtype=np.uint16)
        thermal = ThermalConfig(crop=(2, 0, 0, 0))
        fusing = FusionPipeline("average", "cpu", thermal=thermal, registration=registration)
        visible = rng.integers(0, 256, (46, 64, 3), dtype=np.uint8)
        np.testing.assert_array_equal(fusing.fuse(visible, values).measured(), values[2:])

    def test_any_size(self, nano_weights, rng):
        """No multiple of anything, and a gray visible image."""
        registration = calibration(shift(5, 3), (53, 37), (53, 37))
        visible = rng.integers(0, 256, (37, 53), dtype=np.uint8)
        infrared = rng.integers(0, 65536, (37, 53), dtype=np.uint16)
        fusing = FusionPipeline("nano", "cpu", nano_weights, registration=registration)
        result = fusing.fuse(visible, infrared)
        np.testing.assert_array_equal(result.fused[:3, :, 1], visible[:3])

    def test_refuses_another_shape(self, rng):
        fusing = FusionPipeline("average", "cpu", registration=self.half)
        with pytest.raises(ImageError, match="calibrate again"):
            fusing.fuse(self.pair(rng)["visible"], np.zeros((10, 60), np.uint8))

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_cuda_agrees_and_replays_graphs(self, rng):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            network = make_network(network_config("nano"))
        images = self.pair(rng)
        outputs = []
        for device in ("cpu", "cuda"):
            engine = FusionEngine("nano", device, precision="fp32", network=network)
            warp = Registrar(self.half).warp(SHAPE, SHAPE)
            for _ in range(3):
                output = engine.fuse(images["visible"], warp(images["infrared"]), warp.coverage)
            outputs.append(output)
        assert engine.backend.uses_cuda_graph
        assert np.abs(outputs[0].fused.astype(int) - outputs[1].fused).max() <= 2
        np.testing.assert_allclose(*(output.dominance for output in outputs), atol=5e-3)
