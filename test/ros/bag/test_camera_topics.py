"""Which topics of a bag are the two cameras, by name, type and encoding."""

import pytest
from helpers.bag_files import TOPICS

from dreamif_model.cameras import Both
from dreamif_ros.bag.camera_topics import choose_topics
from dreamif_ros.bag.storage import BagError, Topic


class TestTopics:
    IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"

    def choose(self, names, infrared=None, visible=None, encodings=None):
        topics = [
            Topic(name, self.COMPRESSED if name.endswith("compressed") else self.IMAGE)
            for name in names
        ]
        topics.append(Topic("/imu", "sensor_msgs/msg/Imu"))
        chosen = choose_topics(
            topics,
            lambda topic: (encodings or {}).get(topic.name, "rgb8"),
            Both(infrared, visible),
        )
        return tuple(topic.name for topic in chosen.topics)

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["/cam/rgb", *TOPICS, "/flir/image"], TOPICS),
            (["/boson/image_raw", "/camera/color/image_raw"], None),
            (["/front_ir2/image_raw", "/front/image_raw"], None),
            (["/lwir/image/compressed", "/cam/image/compressed"], None),
            (["/thermal/image", "/cam/image", "/cam/image/compressed"], None),
            (["/thermal/image", "/cam/image", "/fused/image_raw", "/cam/depth/image"], None),
        ],
    )
    def test_the_only_pair_that_fits(self, names, expected):
        assert self.choose(names) == tuple(expected or names[:2])

    def test_sixteen_bits_look_infrared(self):
        names = ["/a/image", "/b/image"]
        assert self.choose(names, encodings={"/b/image": "mono16"}) == ("/b/image", "/a/image")

    @pytest.mark.parametrize(
        ("other", "kind", "pair"),
        [
            ("/a70/image", "mono8", None),
            ("/lwir/image", "mono8", ("/lwir/image", "/flir_camera/image")),
            ("/a70/image", "mono16", ("/a70/image", "/flir_camera/image")),
            ("/boson/image", "mono8", ("/boson/image", "/flir_camera/image")),
            ("/cam/image", "bgr8; jpeg compressed bgr8", ("/flir_camera/image", "/cam/image")),
        ],
    )
    def test_a_brand_is_no_infrared_camera_in_colour(self, other, kind, pair):
        names, encodings = ["/flir_camera/image", other], {other: kind}
        if pair:
            assert self.choose(names, encodings=encodings) == pair
            return
        with pytest.raises(BagError, match=f"such as --ir {other} --vi /flir_camera/image$"):
            self.choose(names, encodings=encodings)

    def test_what_is_proposed_fits_the_encodings(self):
        with pytest.raises(BagError, match=r"such as --ir /a/image --vi /thermal/image$"):
            self.choose(["/a/image", "/thermal/image"], encodings={"/a/image": "16UC1"})

    def test_many_topics_are_not_all_listed(self):
        with pytest.raises(BagError, match="and 988 more; name them") as refusal:
            self.choose([f"/cam{number}/image" for number in range(1000)])
        assert len(str(refusal.value)) < 1000

    @pytest.mark.parametrize("raw", [True, False])
    def test_transports_are_no_cameras(self, raw):
        cameras = "/boson/image_raw", "/camera/image_raw"
        forms = ("compressed", "compressedDepth", "zstd", "odd")
        names = [f"{camera}/{form}" for camera in cameras for form in forms]
        kinds = dict.fromkeys((*cameras, *names), "rgb8") | {"/boson/image_raw": "16UC1"}
        found = self.choose([*cameras, *names] if raw else names, encodings=kinds)
        assert found == (cameras if raw else tuple(f"{camera}/compressed" for camera in cameras))

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("/cam/image/ffmpeg", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"),
            ("/cam/h264", "foxglove_msgs/msg/CompressedVideo"),
            ("/cam/image/zstd", "sensor_msgs/msg/CompressedImage"),
        ],
    )
    def test_video_is_told(self, name, kind):
        topics = [Topic("/thermal/image", self.IMAGE), Topic(name, kind)]
        with pytest.raises(BagError, match=f"two cameras are needed: .* republish {name} as"):
            choose_topics(topics, lambda _: "rgb8", Both(None, None))

    def test_named_topics_win(self):
        names = ["/a/image", "/b/image", "/thermal/image"]
        assert self.choose(names, "/a/image", "/b/image") == ("/a/image", "/b/image")
        assert self.choose(names, None, "/b/image") == ("/thermal/image", "/b/image")
        assert self.choose(["/a", "/b/compressed"], "/b", "/a") == ("/b/compressed", "/a")

    @pytest.mark.parametrize(
        ("names", "named", "reason"),
        [
            (["/a/image", "/b/image"], (None, None), r"such as --ir /a/image --vi /b/image$"),
            (
                ["/cam/image", "/left/image", "/thermal/image"],
                (None, None),
                r"such as --ir /thermal/image --vi /cam/image$",
            ),
            (["/thermal/image"], (None, None), "two cameras are needed: .*: /thermal/image"),
            ([], (None, None), "two cameras are needed: image topics in this bag: none"),
            (TOPICS, ("/odd", None), r"no images on /odd: .*/infrared/image_raw \(sensor_msgs"),
            (TOPICS, (TOPICS[0], TOPICS[0]), "cannot be both"),
            (TOPICS, ("/imu", None), "no images on /imu"),
        ],
    )
    def test_what_is_not_clear_is_listed(self, names, named, reason):
        with pytest.raises(BagError, match=reason):
            self.choose(names, *named)
