import numpy as np
import pytest
import torch

from dreamif_model import FusionPipeline, ThermalConfig
from dreamif_model.errors import ConfigError, DeviceError, ImageError, WeightsError
from dreamif_model.model_files.checkpoints import load_network

HAS_CUDA = torch.cuda.is_available()


@pytest.fixture(params=["average", "nano"])
def pipeline(request, nano_weights):
    weights = nano_weights if request.param == "nano" else None
    return FusionPipeline(request.param, "cpu", weights)


@pytest.fixture
def nano_pipeline(nano_weights):
    return FusionPipeline("nano", "cpu", nano_weights)


@pytest.fixture
def average():
    return FusionPipeline("average", "cpu")


@pytest.fixture
def pair(rng):
    """Visible and infrared, 37×53: no multiple of anything."""
    rgb = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    return rgb, rng.integers(0, 256, (37, 53), dtype=np.uint8)


@pytest.mark.parametrize(
    ("visible", "infrared"),
    [
        ((37, 53, 3), (37, 53)),
        ((37, 53), (37, 53)),
        ((1, 1, 3), (1, 1)),
        ((1, 33, 3), (5, 1)),
        ((64, 80, 3), (24, 32)),
        ((48, 64, 3), (100, 90)),
    ],
)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_sizes_and_types(pipeline, rng, visible, infrared, depth):
    result = pipeline.fuse(
        visible=rng.integers(0, 256, visible, dtype=np.uint8),
        infrared=rng.integers(0, np.iinfo(depth).max, infrared, dtype=depth),
    )
    assert result.fused.shape == (*visible[:2], 3)
    assert result.fused.dtype == np.uint8
    for dominance in (result.dominance_infrared, result.dominance_visible):
        assert dominance.shape == visible[:2]
        assert dominance.dtype == np.float32
        assert 0 <= dominance.min() <= dominance.max() <= 1
    assert result.timings.keys() == {"normalize", "warp", "infer"}
    assert all(seconds >= 0 for seconds in result.timings.values())


def test_full_size(nano_pipeline, rng):
    visible = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    result = nano_pipeline.fuse(visible, np.zeros((240, 320), np.uint8))
    assert result.fused.shape == (480, 640, 3)


def test_average_is_exact(average):
    visible = np.array([[0, 100, 255]], np.uint8)
    infrared = np.array([[0, 50, 255]], np.uint8)
    result = average.fuse(visible, infrared)
    assert result.fused[..., 0].tolist() == [[0, 75, 255]]
    assert (result.fused == result.fused[..., :1]).all()
    assert (result.dominance_infrared == 0.5).all()
    assert (result.dominance_visible == 0.5).all()


def test_padding_is_replicated_and_cropped_exactly(nano_pipeline, pair):
    visible, infrared = pair
    result = nano_pipeline.fuse(visible, infrared)
    gray = nano_pipeline.fuse(visible[..., 0], infrared)
    padded_visible = np.pad(visible, ((0, 11), (0, 11), (0, 0)), mode="edge")
    padded_infrared = np.pad(infrared, ((0, 11), (0, 11)), mode="edge")
    padded = nano_pipeline.fuse(padded_visible, padded_infrared)
    padded_gray = nano_pipeline.fuse(padded_visible[..., 0], padded_infrared)
    assert np.array_equal(gray.fused, padded_gray.fused[:37, :53])
    for name in ("dominance_infrared", "dominance_visible"):
        assert np.array_equal(getattr(result, name), getattr(padded, name)[:37, :53])


def test_nano_is_the_network(nano_weights, rng):
    """The network's own output for a gray pair without padding, infrared first."""
    visible, infrared = rng.integers(0, 256, (2, 32, 64), dtype=np.uint8)
    result = FusionPipeline("nano", "cpu", nano_weights, precision="fp32").fuse(visible, infrared)
    tensors = [torch.from_numpy(each)[None, None] / 255 for each in (infrared, visible)]
    with torch.no_grad():
        output = load_network("nano", nano_weights)(*tensors)
    expected = (255 * output.fused[0, 0].clamp(0, 1)).numpy()
    assert result.fused[..., 1] == pytest.approx(expected, abs=0.51)
    shown = torch.nn.functional.interpolate(output.dominance[-1], (32, 64), mode="bilinear")[0]
    assert result.dominance_infrared == pytest.approx(shown[0].numpy(), abs=1e-5)
    assert result.dominance_visible == pytest.approx(shown[1].numpy(), abs=1e-5)


def test_deterministic(nano_pipeline, pair):
    first, second = nano_pipeline.fuse(*pair), nano_pipeline.fuse(*pair)
    assert np.array_equal(first.fused, second.fused)
    assert np.array_equal(first.dominance_infrared, second.dominance_infrared)


def test_a_detection_image_is_made_if_it_is_asked_for(average, pair):
    assert average.fuse(*pair).detection_image is None
    result = average.fuse(*pair, detection_image=True)
    assert result.detection_image.shape == result.fused.shape
    assert (result.detection_image != result.fused).any()


def test_of_one_camera_alone_the_detection_image_is_its_image(average, pair):
    visible, infrared = pair
    np.testing.assert_array_equal(average.visible_alone(visible).detection_image, visible)
    alone = average.infrared_alone(infrared).detection_image
    np.testing.assert_array_equal(alone, np.dstack([infrared] * 3))


def test_chroma_is_carried_over(average):
    visible = np.full((8, 8, 3), (160, 80, 60), np.uint8)
    fused = average.fuse(visible, np.full((8, 8), 130, np.uint8)).fused.astype(float)
    luma = 0.299 * 160 + 0.587 * 80 + 0.114 * 60
    expected = np.array([160, 80, 60]) + (130 - luma) / 2
    assert fused == pytest.approx(np.broadcast_to(expected, fused.shape), abs=0.51)


def test_infrared_is_resized_to_the_visible(average):
    infrared = np.repeat(np.array([[0, 200]], np.uint8), 2, axis=0)
    fused = average.fuse(np.zeros((8, 8), np.uint8), infrared).fused[..., 0]
    assert fused[0].tolist() == [0, 0, 12, 38, 62, 88, 100, 100]


def test_16_bit_goes_through_the_thermal_config():
    pipeline = FusionPipeline(
        "average", "cpu", thermal=ThermalConfig(mode="fixed", low=7000, high=8000)
    )
    infrared = np.array([[7000, 7400, 9000]], np.uint16)
    fused = pipeline.fuse(np.zeros((1, 3), np.uint8), infrared).fused
    assert fused[0, :, 0].tolist() == [0, 51, 128]


def test_views_and_read_only_arrays(nano_pipeline, pair):
    visible, infrared = pair
    expected = nano_pipeline.fuse(visible[::-1, ::2].copy(), infrared[::-1, ::2].copy()).fused
    visible.flags.writeable = infrared.flags.writeable = False
    result = nano_pipeline.fuse(visible[::-1, ::2], infrared[::-1, ::2])
    assert np.array_equal(result.fused, expected)
    nano_pipeline.fuse(visible, infrared)  # read-only and contiguous: torch would warn


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8, 4), np.uint8),
        ((8, 8, 1), np.uint8),
        ((8,), np.uint8),
        ((0, 8, 3), np.uint8),
        ((8, 8, 3), np.float32),
        ((8, 8), np.uint16),
    ],
)
def test_refuses_visible(average, shape, dtype):
    with pytest.raises(ImageError, match=r"visible image must be uint8.*got "):
        average.fuse(np.zeros(shape, dtype), np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    "infrared",
    [
        np.full((8, 8), np.nan, np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8), np.uint8),
    ],
    ids=["nan", "color", "empty"],
)
def test_refuses_infrared(average, infrared):
    with pytest.raises(ImageError, match="infrared image must be"):
        average.fuse(np.zeros((8, 8), np.uint8), infrared)


def test_unknown_variant():
    with pytest.raises(ConfigError, match=r"unknown variant 'mega'.*nano.*average"):
        FusionPipeline("mega", "cpu")


@pytest.mark.parametrize(
    "name", ["gpu", "", "cpu:0", "cpu:", "cuda:", "cuda:x", "cuda:-1", "cuda:²"]
)
def test_unknown_device(name):
    with pytest.raises(ConfigError, match="choose auto, cpu, cuda or cuda:N"):
        FusionPipeline("average", name)


def test_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        FusionPipeline("nano", "cpu", tmp_path / "none.safetensors")


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("variant", ["nano", "average"])
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_missing_cuda_is_never_replaced(name, variant):
    with pytest.raises(DeviceError, match=r"sees 0 CUDA devices.*use cpu or auto"):
        FusionPipeline(variant, name)


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(nano_weights, pair):
    on_cpu, on_cuda = (
        FusionPipeline("nano", device, nano_weights, precision="fp32").fuse(*pair)
        for device in ("cpu", "cuda")
    )
    difference = on_cuda.fused.astype(int) - on_cpu.fused
    assert np.abs(difference).max() <= 2
    assert on_cuda.dominance_infrared == pytest.approx(on_cpu.dominance_infrared, abs=5e-3)
