"""Every backend gives torch's images, in each precision that is here."""

import cv2
import numpy as np
import pytest
import torch
from helpers.backends import (
    CONFIGS,
    FP32,
    HERE,
    OTHERS,
    assert_same,
    engine,
    needs_openvino,
    network,
    random_pair,
)

from dreamif_model import Calibration, FusionPipeline
from dreamif_model.backends.openvino import (
    openvino_core,
    read_graph,
)
from dreamif_model.cameras import Both
from dreamif_model.detection_image import detection_luma
from dreamif_model.engine import FusionEngine
from dreamif_model.image_files import find_pairs, read_gray, read_rgb
from dreamif_model.model_files.model_source import ModelSource
from dreamif_model.registration.geometry import Homography
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import SWITCHES, WEIGHTS_FOLDER, network_config
from dreamif_ros.scene import Scene, SceneConfig

ODD = 131, 171  # height and width, no multiple of anything

# bf16 keeps 8 bits: as measured up to 0.01 off in dominance and 3 gray levels, 0.1 in the mean.
BF16_DOMINANCE, BF16_LEVELS, BF16_MEAN = 0.03, 4, 0.5

ABLATIONS = {f"nano without {name}": network_config("nano", (name,)) for name in SWITCHES}


def assert_near(result, expected):
    """A bf16 result is near the fp32 one, but not equal."""
    difference = np.abs(result.fused.astype(int) - expected.fused)
    assert 0 < difference.mean() < BF16_MEAN
    assert difference.max() <= BF16_LEVELS
    assert result.dominance == pytest.approx(expected.dominance, abs=BF16_DOMINANCE)


@pytest.fixture(scope="module")
def street():
    """A drawn street of an odd size: visible RGB and infrared gray levels."""
    height, width = ODD
    drawn = Scene(SceneConfig(visible_size=(width, height), infrared_size=(width, height)))
    return drawn.visible(1.0), ThermalNormalizer().normalize(drawn.infrared(1.0))


@pytest.fixture(scope="module")
def references(street):
    """What torch gives in fp32, by the name of the network; packaged ones by their variant."""
    found = {}

    def reference(name):
        if name not in found:
            if name in ("packaged nano", "packaged tiny"):
                fusing = engine("torch", variant=name.split()[1])
            else:
                fusing = engine("torch", of=network((CONFIGS | ABLATIONS)[name]))
            found[name] = fusing.fuse(*street)
        return found[name]

    return reference


class TestSameAsTorch:
    """Within one gray level in fp32, within the bounds above in bf16; of an odd size."""

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    @pytest.mark.parametrize("variant", ["nano", "tiny"])
    def test_packaged_weights(self, variant, backend, precision, street, references):
        expected = references(f"packaged {variant}")
        assert expected.dominance.std() > 0.05  # there is something to see
        result = engine(backend, precision, variant=variant).fuse(*street)
        (assert_same if precision == "fp32" else assert_near)(result, expected)

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    @pytest.mark.parametrize("name", CONFIGS)
    def test_networks_in_memory(self, name, backend, precision, street, references):
        if backend == "onnxruntime":
            pytest.importorskip("onnx", reason="needs onnx: pip install onnx")
        result = engine(backend, precision, network(CONFIGS[name])).fuse(*street)
        (assert_same if precision == "fp32" else assert_near)(result, references(name))

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    @pytest.mark.parametrize("variant", ["nano", "tiny"])
    def test_detection_images(self, variant, backend, precision, street, rng):
        """The restored images, asked for at every other frame, change no other output."""
        noisy = [np.clip(image + rng.normal(0, 25, image.shape), 0, 255) for image in street]
        visible, infrared = (image.astype(np.uint8) for image in noisy)
        expected = engine("torch", variant=variant).fuse(visible, infrared, detection_image=True)
        raw = detection_luma(infrared, cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY))
        luma = cv2.cvtColor(expected.detection_image, cv2.COLOR_RGB2GRAY)
        assert np.diff(luma.astype(float)).std() < 0.7 * np.diff(raw.astype(float)).std()
        fusing = engine(backend, precision, variant=variant)
        for asked in (True, False, True):
            result = fusing.fuse(visible, infrared, detection_image=asked)
            (assert_same if precision == "fp32" else assert_near)(result, expected)
            if asked:
                difference = np.abs(result.detection_image.astype(int) - expected.detection_image)
                assert difference.mean() < (0.1 if precision == "fp32" else 1)

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    def test_a_map_of_noise(self, backend, precision, street, references, rng):
        if backend == "onnxruntime":
            pytest.importorskip("onnx", reason="needs onnx: pip install onnx")
        of = network(CONFIGS["nano"])
        torch.nn.init.constant_(of.embed_noise.kernel.weight, 0.1)
        blocks = tuple(-(-side // 4) for side in ODD)
        noise = Both.make(lambda _: rng.uniform(0, 40, blocks).astype(np.float32))
        expected = engine("torch", of=of).fuse(*street, noise=noise)
        assert abs(expected.fused.astype(int) - references("nano").fused).mean() > 1
        result = engine(backend, precision, of).fuse(*street, noise=noise)
        (assert_same if precision == "fp32" else assert_near)(result, expected)

    @needs_openvino
    @pytest.mark.parametrize("name", ABLATIONS)
    def test_ablated_networks(self, name, street, references):
        assert_same(engine("openvino", of=network(ABLATIONS[name])).fuse(*street), references(name))

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_sizes_in_turn(self, backend, rng):
        """Also one that needs no padding, then the first again."""
        fusing, reference = engine(backend), engine("torch")
        for shape in ((97, 130), (32, 64), (97, 130)):
            pair = random_pair(rng, *shape)
            assert_same(fusing.fuse(*pair), reference.fuse(*pair))

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    def test_a_real_pair(self, backend, precision, pairs_root):
        folder = pairs_root / "roadscene"
        pair = find_pairs(folder / "ir", folder / "vi")[0]
        visible, infrared = read_rgb(pair.visible)[:131, :171], read_gray(pair.infrared)[:131, :171]
        expected = engine("torch").fuse(visible, infrared)
        result = engine(backend, precision).fuse(visible, infrared)
        (assert_same if precision == "fp32" else assert_near)(result, expected)

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_a_gray_image_and_one_color_are_fused_too(self, backend, rng):
        fusing, reference = engine(backend), engine("torch")
        gray, infrared = rng.integers(0, 256, (2, 37, 53), dtype=np.uint8)
        black = np.zeros((37, 53), np.uint8)
        for pair in ((gray, infrared), (np.zeros((37, 53, 3), np.uint8), black)):
            assert_same(fusing.fuse(*pair), reference.fuse(*pair))

    @pytest.mark.parametrize(("backend", "precision"), [pair for pair in HERE if "bf16" in pair])
    def test_the_sources_cost_nothing_where_the_network_adds_nothing(
        self, backend, precision, street
    ):
        """bf16's 8 bits are for the features: half of each source stays exact."""
        of = silent_nano()
        expected = engine("torch", of=of).fuse(*street)
        result = engine(backend, precision, of).fuse(*street)
        np.testing.assert_array_equal(result.fused, expected.fused)

    def test_weights_from_a_file_and_a_registration(self, nano_weights, rng):
        """Where infrared does not reach, exactly the visible image."""
        shift = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])
        half = Calibration(Homography(shift), (64, 48), (64, 48))
        visible, infrared = random_pair(rng, 48, 64)
        fused = {}
        for backend, precision in HERE:
            if precision != "fp32":
                continue
            pipeline = FusionPipeline(
                "nano", "cpu", nano_weights, None, precision, half, backend=backend
            )
            pipeline.warm_up()
            fused[backend] = pipeline.fuse(visible, infrared)
            if backend == "openvino":  # the warm-up was of the frame's size
                assert len(pipeline.engine.backend._requests) == 1
        expected = fused.pop("torch")
        assert fused
        for result in fused.values():
            np.testing.assert_array_equal(result.fused[:, :32], visible[:, :32])
            assert (result.dominance_infrared[:, :32] == 0).all()
            assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
            np.testing.assert_allclose(
                result.dominance_infrared, expected.dominance_infrared, rtol=0, atol=FP32
            )


def silent_nano():
    """Whose output is the mean of both sources: no restoration, no residual, dominance ½."""
    of = network(network_config("nano"))
    for layer in (of.output, of.enhance[0].dominance.score, of.restore.gate.kernel):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(of.restore.detail.kernel.bias)
    torch.nn.init.constant_(of.restore.gate.kernel.bias, -6)  # closed
    return of


@pytest.mark.parametrize("variant", ["nano", "tiny"])
class TestPackagedFiles:
    """The .onnx that OpenVINO reads and the .safetensors of torch are one network."""

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_both_give_the_same(self, variant, backend, street, references):
        onnx = WEIGHTS_FOLDER / f"{variant}.onnx"
        fusing = FusionEngine(variant, "cpu", onnx, "fp32", backend=backend)
        assert_same(fusing.fuse(*street), references(f"packaged {variant}"))

    @needs_openvino
    def test_the_onnx_file_says_what_it_is(self, variant):
        source = ModelSource(variant)
        info = source.torch_network()[1]
        path = source.graph_file((".onnx", ".xml"))
        assert path == WEIGHTS_FOLDER / f"{variant}.onnx"
        assert read_graph(openvino_core(), path)[1] == info

    def test_other_weights_would_be_seen(self, variant, street, references):
        other = engine("torch", of=network(network_config(variant)), variant=variant).fuse(*street)
        with pytest.raises(AssertionError):
            assert_same(other, references(f"packaged {variant}"))
