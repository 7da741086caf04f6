"""Videos as training data: which frames are drawn, which are held out."""

import numpy as np
import pytest
from helpers.pair_files import make_clip, make_pairs
from helpers.videos import write_clip

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.training import data
from dreamif_model.training.clips import pair_names
from dreamif_model.training.data import CropDataset, DataSet


def frames(pairs):
    return [pair.frame for pair in pairs]


def test_frames_hold_what_was_written(tmp_path):
    pairs, _ = DataSet(make_clip(tmp_path, "a", 10, 5), validation=()).split()
    assert [pair.stem for pair in pairs] == [f"a_{frame:06}" for frame in range(5)]
    for pair in (pairs[3], pairs[0], pairs[4]):
        value = 10 + pair.frame
        np.testing.assert_array_equal(pair.read_infrared(), np.full((40, 48), value))
        expected = np.full((40, 48, 3), (value, 100 + value, 200))
        np.testing.assert_array_equal(pair.read_visible(), expected)


def test_the_last_eighth_of_each_clip_is_held_out(tmp_path):
    make_clip(make_clip(tmp_path, "a", 0, 16), "b", 50, 8)
    training, validation = DataSet(tmp_path).split()
    assert frames(training) == [*range(14), *range(7)]
    assert frames(validation) == [14, 15, 7]


def test_of_a_long_clip_eight_frames_are_judged(tmp_path):
    training, validation = DataSet(make_clip(tmp_path, "a", 0, 180)).split()
    assert frames(training) == list(range(158))
    assert frames(validation) == [158, 161, 164, 167, 170, 173, 176, 179]


def test_named_clips_are_held_out_whole(tmp_path):
    make_clip(make_clip(tmp_path, "a", 0, 4), "b", 50, 3)
    training, validation = DataSet(tmp_path, validation=("b",)).split()
    assert pair_names(training) == ["a_000000-000003"]
    assert pair_names(validation) == ["b_000000-000002"]
    with pytest.raises(ConfigError, match=r"lacks: \['c'\]"):
        DataSet(tmp_path, validation=("c",)).split()


def test_clips_stand_beside_images(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "EXPOSED_SHARE", 0)
    make_clip(make_pairs(tmp_path, 9), "a", 100, 16)
    dataset = CropDataset([DataSet(tmp_path)], 16, 300, 0)
    drawn = {round(255 * dataset[i][0].mean().item()) for i in range(300)}
    assert drawn == {*range(1, 8), *range(100, 114)}  # without every eighth, and the last eighth
    _, validation = DataSet(tmp_path).split()
    assert pair_names(validation) == ["00", "08", "a_000014-000015"]


def test_a_test_split_of_clips(tmp_path):
    for split in ("train", "test"):
        make_clip(tmp_path / split, "a", 0, 4)
    training, validation = DataSet(tmp_path).split()
    assert {pair.visible.parent.parent.name for pair in training} == {"train"}
    assert {pair.visible.parent.parent.name for pair in validation} == {"test"}
    assert (frames(training), frames(validation)) == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_what_is_no_pair_of_clips_is_refused(tmp_path):
    make_clip(tmp_path, "a", 0, 4)
    gray = np.zeros((40, 48), np.uint8)
    write_clip(tmp_path / "ir" / "b.avi", [gray] * 3, 10)
    with pytest.raises(ImageError, match=r"1 videos have no partner of the same name .*: b$"):
        DataSet(tmp_path).split()
    write_clip(tmp_path / "vi" / "b.avi", [gray] * 2, 10)
    with pytest.raises(ImageError, match=r"ir/b\.avi has 3 frames and .*vi/b\.avi has 2"):
        DataSet(tmp_path).split()
    (tmp_path / "ir" / "b.avi").write_bytes(b"no video")
    with pytest.raises(ImageError, match="cannot read the video"):
        DataSet(tmp_path).split()
