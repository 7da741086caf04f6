"""The demo from the command line to its files."""

import json

import cv2
import numpy as np
import pytest

from dreamif_ros import cli

pytestmark = pytest.mark.realtime


def test_the_demo_leaves_pictures_and_a_summary(tmp_path, capfd):
    out = tmp_path / "demo"
    assert cli.main(["demo", "--seconds", "3", "--variant", "average", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["variant"], summary["device"]) == ("average", "cpu")
    assert summary["published"] >= summary["recorded"] >= 5
    accounted = summary["published"] + sum(summary["dropped_pairs"].values())
    assert accounted == summary["pairs"] + summary["used_alone"]
    assert min(summary["received"].values()) >= summary["pairs"]
    assert 0 < summary["stamp_to_publish_ms"]["p50"] <= summary["stamp_to_publish_ms"]["p99"]
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape == (28 + 4 * 300, 4 * 400, 3)
    video = cv2.VideoCapture(str(out / "fused.mkv"))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == summary["recorded"]
    assert (out / "summary.txt").read_text() in capfd.readouterr().out


def test_the_noisy_case_shows_each_frame_alone_beside_the_node_with_memory(tmp_path):
    out = tmp_path / "demo"
    options = ["--seconds", "3", "--variant", "average", "--noise", "night", "--out", str(out)]
    assert cli.main(["demo", *options]) == 0
    assert cv2.imread(str(out / "contact_sheet.png")).shape[1] == 4 * 400
    video, ratios = cv2.VideoCapture(str(out / "fused.mkv")), []
    while (frame := video.read())[0]:
        assert frame[1].shape == (2 * (28 + 480), 2 * 640, 3)
        below = frame[1][-480:, :, 1]
        alone, with_memory = (grain(half) for half in (below[:, :640], below[:, 640:]))
        ratios.append(with_memory / alone)
    assert min(ratios) < 0.7


def grain(image):
    """The median difference of neighbours across columns: noise and stripes."""
    return np.median(np.abs(np.diff(image.astype(float), axis=1)))


@pytest.mark.parametrize("seconds", ["0", "nan", "-3", "9999"])
def test_a_duration_out_of_range_is_refused(seconds, tmp_path, capfd):
    assert cli.main(["demo", "--seconds", seconds, "--out", str(tmp_path / "demo")]) == 2
    assert "expected more than 0, up to 60" in capfd.readouterr().err
