"""Image messages: their bytes become arrays, and arrays become messages.

``decode``, ``decode_infrared`` and ``decode_visible`` read messages of ROS and of rosbags alike.
``message_builder`` builds messages of either kind of classes.
"""

from dreamif_ros.codec.decode import (
    DECODERS,
    ImageMessage,
    InfraredPixels,
    decode,
    decode_infrared,
    decode_visible,
    encoding_of,
    stamp_ns,
    use_one_thread,
)

__all__ = [
    "DECODERS",
    "ImageMessage",
    "InfraredPixels",
    "decode",
    "decode_infrared",
    "decode_visible",
    "encoding_of",
    "stamp_ns",
    "use_one_thread",
]
