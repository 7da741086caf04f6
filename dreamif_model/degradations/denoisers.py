"""Classic denoisers, for methods that restore each image before they fuse.

All estimate the noise level from the image alone (Donoho & Johnstone 1994, on wavelets), with
scikit-image, which nothing but evaluation needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dreamif_model.arrays import GrayImage, to_bytes
from dreamif_model.errors import ConfigError

BM3D = "bm3d"  # too slow to run where nobody asks for it
# In units of the noise level. Near the best PSNR on noisy validation pairs, which changes little.
NON_LOCAL_STRENGTH, TOTAL_VARIATION_WEIGHT = 0.8, 1.5


def non_local_means(image: GrayImage) -> GrayImage:
    """Mean of similar 5×5 patches up to 6 pixels away (Buades et al. 2005)."""
    restoration = import_scikit_image()
    gray = image / 255.0
    sigma = restoration.estimate_sigma(gray)
    strength = NON_LOCAL_STRENGTH * sigma
    return to_bytes(
        255
        * restoration.denoise_nl_means(
            gray, patch_size=5, patch_distance=6, h=strength, sigma=sigma, fast_mode=True
        )
    )


def total_variation(image: GrayImage) -> GrayImage:
    """Least squares with a penalty on the total variation (Rudin et al. 1992; Chambolle 2004)."""
    restoration = import_scikit_image()
    gray = image / 255.0
    weight = TOTAL_VARIATION_WEIGHT * restoration.estimate_sigma(gray)
    return to_bytes(255 * restoration.denoise_tv_chambolle(gray, weight=max(weight, 1e-6)))


def block_matching(image: GrayImage) -> GrayImage:
    """BM3D, joint filtering of similar patches (Dabov et al. 2007), by its authors' package.

    It is slow, and its terms allow no commercial use.
    """
    bm3d, restoration = import_bm3d(), import_scikit_image()
    gray = image / 255.0
    return to_bytes(255 * bm3d.bm3d(gray, max(restoration.estimate_sigma(gray), 1e-6)))


DENOISERS: dict[str, Callable[[GrayImage], GrayImage]] = {
    "nlm": non_local_means,
    "tv": total_variation,
    BM3D: block_matching,
}


def import_scikit_image() -> Any:
    """Import ``skimage.restoration``; ConfigError if it or PyWavelets is not installed."""
    try:
        import pywt  # type: ignore[import-untyped]  # noqa: F401  estimate_sigma imports it late
        from skimage import restoration
    except ImportError:
        raise ConfigError(
            "restoring first needs scikit-image and PyWavelets: pip install 'dreamif_ros[evaluate]'"
        ) from None
    return restoration


def import_bm3d() -> Any:
    """Import ``bm3d``; ConfigError if it is not installed."""
    try:
        import bm3d  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ConfigError(
            "BM3D needs its authors' package, whose terms allow no commercial use: "
            "pip install 'dreamif_ros[evaluate,bm3d]'"
        ) from None
    return bm3d
