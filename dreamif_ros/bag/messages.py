"""Camera messages for a bag, of rosbags' own types: they need no ROS."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from dreamif_ros.bag.storage import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE

JPEG_QUALITY = 95  # of 100, as image_transport's default

Codec: TypeAlias = Literal["jpeg", "png"]
Pixels: TypeAlias = "NDArray[np.uint8] | NDArray[np.uint16]"


class MessageBuilder:
    """Builds messages and serializes them; the same values give the same bytes."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        self._types: dict[str, Any] = dict(self.store.types)

    def serialize(self, message: Any) -> memoryview:
        """The message as CDR."""
        return self.store.serialize_cdr(message, message.__msgtype__)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A header stamped in nanoseconds."""
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def image(self, image: Pixels, header: Any) -> Any:
        """An Image: (H, W) uint8 as mono8, uint16 as mono16, (H, W, 3) uint8 RGB as rgb8."""
        pixels: NDArray[Any] = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
        return self._types[IMAGE](
            header=header,
            height=image.shape[0],
            width=image.shape[1],
            encoding=_encoding(image),
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )

    def compressed(self, image: Pixels, codec: Codec, header: Any) -> Any:
        """The same as a CompressedImage; 16 bit is PNG always, for JPEG keeps 8."""
        codec = "png" if image.dtype == np.uint16 else codec
        in_colour = image.ndim == 3
        stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if in_colour else image
        quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY) if codec == "jpeg" else ()
        _, data = cv2.imencode(f".{codec}", stored, quality)
        return self._types[COMPRESSED_IMAGE](
            header=header,
            # As image_transport words it; codec.py reads it back.
            format=f"{_encoding(image)}; {codec} compressed {'bgr8' if in_colour else ''}",
            data=cast("NDArray[np.uint8]", data).reshape(-1),
        )

    def camera_info(self, height: int, width: int, header: Any) -> Any:
        """An uncalibrated camera: K all zero, as the message's definition says."""
        roi = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types[CAMERA_INFO](
            header=header,
            height=height,
            width=width,
            distortion_model="",
            d=np.zeros(0),
            k=np.zeros(9),
            r=np.zeros(9),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )


def _encoding(image: Pixels) -> str:
    if image.ndim == 3:
        return "rgb8"
    return "mono8" if image.dtype == np.uint8 else "mono16"
