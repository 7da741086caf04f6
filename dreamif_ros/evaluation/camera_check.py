"""How well the cameras of a bag agree in time and space, as `dreamif calibrate` estimates it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreamif_model import Calibration, DreamIFError
from dreamif_model.cameras import Both, Camera
from dreamif_model.registration.alignment import alignment_score
from dreamif_model.registration.clock_offset import STEP_S
from dreamif_model.registration.estimate import align
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Registrar, resize
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.camera_topics import info_topic
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError, Topic
from dreamif_ros.evaluation.evaluation_results import AlignmentFound, ClockOffsetFound
from dreamif_ros.evaluation.footage import Footage, GrayShares, edge_picture, read_footage
from dreamif_ros.fusion.camera_infos import CameraInfos

MIN_UNCERTAINTY_S = STEP_S / 2  # the estimate is sampled in these steps


@dataclass(frozen=True)
class CameraCheck:
    """What was found, and pictures of the edges, see :func:`edge_picture`."""

    clock_offset: ClockOffsetFound
    alignment: AlignmentFound
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # before, after


def complete(infos: CameraInfos, recording: Recording, topics: Both[Topic]) -> Calibration | None:
    """The calibration of a file, with what it leaves to ``camera_info`` read from the bag.

    BagError where such a message is missing, ConfigError where it cannot be used.
    """
    for camera in list(infos.missing):
        wanted = info_topic(topics[Camera(camera)])
        first = recording.first(wanted)
        if first is None:
            raise BagError(
                f"the calibration takes the {camera} camera's intrinsics from camera_info, and the "
                f"bag has none on {wanted.name}: name a file of camera_calibration in it"
            )
        infos.take(camera, MESSAGES.deserialize(first.data, first.type_name))
    return infos.calibration()


def check_cameras(
    recording: Recording,
    topics: Both[Topic],
    calibration: Calibration | None,
    start_s: float = 0.0,
) -> CameraCheck:
    """Estimate from the first minute after ``start_s``; what cannot be told has a reason instead.

    calibration: the one that the bag is fused with; None: infrared is resized to the visible image.
    """
    try:
        footage = read_footage(recording, topics, start_s)
    except DreamIFError as error:
        reason = str(error)
        return CameraCheck(ClockOffsetFound(reason=reason), AlignmentFound(reason=reason))
    return _aligned(footage, calibration, _offset(footage))


def _offset(footage: Footage) -> ClockOffsetFound:
    found = footage.clock_offset
    if found is None:
        return ClockOffsetFound(reason=footage.no_offset)
    return ClockOffsetFound(found.seconds, max(found.residual_s, MIN_UNCERTAINTY_S))


def _aligned(
    footage: Footage, calibration: Calibration | None, offset: ClockOffsetFound
) -> CameraCheck:
    before: float | None = None
    try:
        before = _score(footage, calibration)
        matrix = align(footage.images.infrared, footage.images.visible).homography
        found = Calibration(Homography(matrix), *footage.sizes)
        alignment = AlignmentFound(
            tuple(tuple(map(float, row)) for row in matrix),
            before,
            _score(footage, found),
            _shift(calibration, found),
        )
    except DreamIFError as error:
        return CameraCheck(offset, AlignmentFound(score_before=before, reason=str(error)))
    infrared, visible = footage.images.map(lambda images: images[0])
    pictures = {
        name: edge_picture(_laid(infrared, visible, _registrar(how))[0], visible)
        for name, how in (("before", calibration), ("after", found))
    }
    return CameraCheck(offset, alignment, pictures)


def _laid(
    infrared: GrayShares, visible: GrayShares, registrar: Registrar | None
) -> tuple[GrayShares, NDArray[np.float32] | None]:
    """Infrared (H, W) on the visible pixels, and the coverage where there is a calibration."""
    if registrar is None:
        return resize(infrared, visible.shape), None
    warp = registrar.warp(infrared.shape, visible.shape)
    return warp(infrared), warp.coverage


def _score(footage: Footage, calibration: Calibration | None) -> float:
    """Mean agreement of the edges, in [-1, 1]."""
    scores, registrar = [], _registrar(calibration)
    for infrared, visible in zip(*footage.images, strict=True):
        laid, coverage = _laid(infrared, visible, registrar)
        scores.append(alignment_score(laid, visible, coverage))
    return float(np.mean(scores))


def _registrar(calibration: Calibration | None) -> Registrar | None:
    return None if calibration is None else Registrar(calibration)


def _shift(calibration: Calibration | None, found: Calibration) -> float | None:
    """Mean distance in visible pixels that the corners of the visible image move."""
    width, height = found.visible_size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    if calibration is None:
        scale = np.array(found.infrared_size) / np.array(found.visible_size)
        infrared = (corners + 0.5) * scale - 0.5
    else:
        infrared = calibration.to_infrared(corners, found.infrared_size, found.visible_size)
    assert isinstance(found.geometry, Homography)
    moved = found.geometry.to_visible(infrared)
    distances = np.linalg.norm(moved - corners, axis=1)
    known = distances[np.isfinite(distances)]
    return float(known.mean()) if known.size else None
