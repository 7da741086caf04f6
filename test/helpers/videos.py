"""Noisy frames of scenes whose truth is known, and files of frames."""

import cv2
import numpy as np

SIZE = (96, 128)  # height, width


def scene(seed=0, size=SIZE):
    """Things with edges in front of something smooth, (H, W) float in 60 to 200."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (5, 6)).astype(np.float32)
    image = np.clip(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), 60, 200)
    for _ in range(size[0] * size[1] // 600):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        width, height = rng.integers(6, 30, 2)
        image[y : y + height, x : x + width] = rng.uniform(60, 200)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def camera(image, sigma, rng):
    """What a camera of this noise sends, uint8."""
    return np.rint(image + sigma * rng.standard_normal(image.shape)).clip(0, 255).astype(np.uint8)


def error(found, truth):
    """Root of the mean square difference, in gray levels."""
    return float(np.sqrt(np.mean((found.astype(float) - truth) ** 2)))


def write_clip(path, frames, fps):
    """Lossless: gray of 8 or 16 bit, or colour given as RGB."""
    first = frames[0]
    depth = cv2.CV_16U if first.dtype == np.uint16 else cv2.CV_8U
    options = [
        *(cv2.VIDEOWRITER_PROP_IS_COLOR, int(first.ndim == 3)),
        *(cv2.VIDEOWRITER_PROP_DEPTH, depth),
    ]
    size = first.shape[1], first.shape[0]
    codec = cv2.VideoWriter_fourcc(*"FFV1")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size, options)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame if frame.ndim == 2 else frame[..., ::-1].copy())
    writer.release()
    return path
