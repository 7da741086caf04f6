"""Images as phases, and back."""

import numpy as np
import pytest
import torch
from helpers.backends import random_pair

from dreamif_model.backends.phases import PhasePacker
from dreamif_model.cameras import Both


class TestPhases:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_packed_as_torch_does(self, stem, channels, rng):
        visible, infrared = random_pair(rng, 24, 40)
        shown = visible if channels == 3 else visible[..., 0]  # a view: not contiguous
        planes = np.concatenate(
            (infrared[None], visible.transpose(2, 0, 1) if channels == 3 else shown[None])
        )
        expected = torch.nn.functional.pixel_unshuffle(torch.from_numpy(planes)[None], stem)
        packer = PhasePacker(stem)
        for _ in range(2):  # into new buffers and into kept ones
            packed = packer.pack(infrared, shown)
            assert packed.dtype == np.uint8
            np.testing.assert_array_equal(packed, expected.numpy())

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_unpacked_rounded_and_saturated(self, stem, channels, rng):
        levels = rng.uniform(0, 300, (1, channels, 24, 40)).astype(np.float32)
        levels[..., :2, :] = 255.0, 255.4, *(40 - 2) * (12.25,)
        phases = torch.nn.functional.pixel_unshuffle(torch.from_numpy(levels), stem).numpy()
        unpacked = PhasePacker(stem).unpack(phases)
        expected = np.rint(levels[0].clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
        assert unpacked.dtype == np.uint8
        np.testing.assert_array_equal(unpacked, expected[..., 0] if channels == 1 else expected)

    @pytest.mark.parametrize("shape", [(32, 48), (32, 48, 3)])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_unpacking_undoes_packing(self, stem, shape, rng):
        visible = rng.integers(0, 256, shape, dtype=np.uint8)
        packer = PhasePacker(stem)
        phases = packer.pack(np.zeros(shape[:2], np.uint8), visible)[:, stem**2 :]
        np.testing.assert_array_equal(packer.unpack(phases.astype(np.float32)), visible)

    def test_a_map_of_noise_comes_last_in_quarters_of_a_gray_level(self, rng):
        visible, infrared = random_pair(rng, 8, 16)
        packer = PhasePacker(4, noise_map=True)
        noise = Both(
            infrared=np.array([[0.0, 1.0, 10.3]], np.float32),
            visible=np.array([[63.9, 200.0, 0.1]], np.float32),
        )
        for _ in range(2):
            phases = packer.pack(infrared, visible[..., 0], noise)
            plain = PhasePacker(4).pack(infrared, visible[..., 0])
            np.testing.assert_array_equal(phases[:, :32], plain)
            # The images are padded to two rows and four columns of blocks.
            np.testing.assert_array_equal(phases[0, 32], [[0, 4, 41, 41]] * 2)
            np.testing.assert_array_equal(phases[0, 33], [[255, 255, 0, 0]] * 2)
            assert not packer.pack(infrared, visible[..., 0])[:, 32:].any()

    def test_a_map_of_noise_for_other_cells(self, rng):
        visible, infrared = random_pair(rng, 8, 8)
        levels = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
        phases = PhasePacker(2, noise_map=True).pack(infrared, visible, Both(levels, levels))
        np.testing.assert_array_equal(phases[0, 16], np.kron(levels * 4, np.ones((2, 2))))

    def test_another_size_takes_other_buffers(self, rng):
        packer = PhasePacker(4)
        for shape in ((8, 12), (16, 8), (8, 12)):
            visible, infrared = random_pair(rng, *shape)
            phases = packer.pack(infrared, visible).astype(np.float32)
            np.testing.assert_array_equal(packer.unpack(phases[:, :16]), infrared)
            np.testing.assert_array_equal(packer.unpack(phases[:, 16:]), visible)
