import math

import numpy as np
import pytest
import torch
from helpers.pair_files import make_pairs, stems

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import write_image
from dreamif_model.training import data
from dreamif_model.training.data import CropDataset, DataSet


class TestSplit:
    def test_every_eighth_is_held_out(self, tmp_path):
        training, validation = DataSet(make_pairs(tmp_path, 18)).split()
        assert stems(validation) == [0, 8, 16]
        assert stems(training) == [i for i in range(18) if i % 8]

    def test_by_name(self, tmp_path):
        training, validation = DataSet(make_pairs(tmp_path, 4), validation=("02", "01")).split()
        assert stems(validation) == [1, 2]
        assert stems(training) == [0, 3]

    def test_no_names_hold_nothing_out(self, tmp_path):
        training, validation = DataSet(make_pairs(tmp_path, 9), validation=()).split()
        assert (stems(training), validation) == (list(range(9)), [])

    @pytest.mark.parametrize("name", ["LLVIP", "MSRS", "M3FD", "RoadScene"])
    def test_published_layouts(self, tmp_path, name):
        training, test = data.LAYOUTS[name]
        for folders, first, count in ((training, 0, 9), (test, 20, 2)):
            for folder in folders or ():
                (tmp_path / folder).mkdir(parents=True)
                for i in range(first, first + count):
                    write_image(tmp_path / folder / f"{i:02}.png", np.zeros((4, 4), np.uint8))
        drawn, held_out = DataSet(tmp_path).split()
        if test:  # its own split
            assert (stems(drawn), stems(held_out)) == (list(range(9)), [20, 21])
        else:
            assert (stems(drawn), stems(held_out)) == (list(range(1, 8)), [0, 8])
        by_name = DataSet(tmp_path, validation=("03",)).split()
        assert (len(by_name[0]), stems(by_name[1])) == (8, [3])
        assert [len(part) for part in DataSet(tmp_path, validation=()).split()] == [9, 0]

    def test_no_layout(self, tmp_path):
        (tmp_path / "ir").mkdir()
        with pytest.raises(ImageError, match=r"no pairs in a layout .*MSRS: train/ir and train/vi"):
            DataSet(tmp_path).split()

    def test_unknown_name(self, tmp_path):
        with pytest.raises(ConfigError, match=r"lacks: \['7'\]"):
            DataSet(make_pairs(tmp_path, 4), validation=("02", "7")).split()


def items(dataset):
    """Its items; a bare ``for`` would not end, as any index is an item."""
    return [dataset[i] for i in range(len(dataset))]


def sources(dataset):
    """The pair that each item was cut from: its flat infrared value."""
    return [round(255 * infrared.mean().item()) for infrared, _, _ in items(dataset)]


class TestCropDataset:
    @pytest.fixture(autouse=True)
    def _as_it_was_exposed(self, monkeypatch):
        monkeypatch.setattr(data, "EXPOSED_SHARE", 0)

    def test_item(self, tmp_path):
        (item,) = items(CropDataset([DataSet(make_pairs(tmp_path, 2))], 16, 1, seed=0))
        infrared, visible, salient = item
        assert (infrared.shape, visible.shape) == ((1, 16, 16), (3, 16, 16))
        assert torch.equal(salient, torch.zeros(1, 16, 16))  # nothing stands out of a flat image
        assert infrared.dtype == visible.dtype == torch.float32
        expected = torch.tensor([1, 101, 200]) / 255  # pair 0 is held out
        assert visible.mean((1, 2)).numpy() == pytest.approx(expected.numpy())
        assert infrared.numpy() == pytest.approx(1 / 255)

    def test_depends_on_the_seed_and_the_index_alone(self, tmp_path, rng):
        folder = make_pairs(tmp_path, 2)
        write_image(folder / "vi" / "01.png", rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))

        def item(seed, index):
            return CropDataset([DataSet(folder)], 16, 10, seed)[index][1]

        assert torch.equal(item(0, 3), item(0, 3))
        again = CropDataset([DataSet(folder)], 16, 10, 0)
        again[0], again[7]
        assert torch.equal(again[3][1], item(0, 3))
        assert not torch.equal(item(0, 3), item(0, 4))
        assert not torch.equal(item(0, 3), item(1, 3))

    def test_both_images_are_cut_alike(self, tmp_path, rng):
        folder = make_pairs(tmp_path, 2)
        image = rng.integers(0, 256, (40, 48), dtype=np.uint8)
        write_image(folder / "ir" / "01.png", image)
        write_image(folder / "vi" / "01.png", np.dstack([image] * 3))
        for infrared, visible, _ in items(CropDataset([DataSet(folder)], 16, 20, 0)):
            assert torch.equal(infrared.expand(3, -1, -1), visible)

    def test_never_from_held_out_files(self, tmp_path):
        drawn = sources(CropDataset([DataSet(make_pairs(tmp_path, 18))], 16, 400, 0))
        assert set(drawn) == {i for i in range(18) if i % 8}

    def test_named_files_are_held_out(self, tmp_path):
        held_out = DataSet(make_pairs(tmp_path, 4), validation=("03", "01"))
        assert set(sources(CropDataset([held_out], 16, 100, 0))) == {0, 2}

    def test_shares(self, tmp_path):
        few = DataSet(make_pairs(tmp_path / "few", 2), weight=3)
        many = DataSet(make_pairs(tmp_path / "many", 7), weight=1, validation=("00", "01"))
        drawn = sources(CropDataset([few, many], 16, 400, 0))
        assert drawn.count(1) == pytest.approx(300, abs=40)

    @pytest.mark.parametrize("size", [(16, 20), (10, 12), (100, 16)])
    def test_images_as_small_as_the_crop_or_smaller(self, tmp_path, size):
        dataset = CropDataset([DataSet(make_pairs(tmp_path, 2, size))], 16, 10, 0)
        assert {tuple(infrared.shape) for infrared, _, _ in items(dataset)} == {(1, 16, 16)}
        assert set(sources(dataset)) == {1}

    def test_nothing_to_train_on(self, tmp_path):
        with pytest.raises(ConfigError, match="no pairs to train on"):
            CropDataset([DataSet(make_pairs(tmp_path, 1))], 16, 10, 0)

    def test_refuses_pairs_of_two_sizes_or_16_bit(self, tmp_path):
        folder = make_pairs(tmp_path, 2)
        write_image(folder / "ir" / "01.png", np.zeros((20, 24), np.uint8))
        with pytest.raises(ImageError, match=r"of one size: .*\(20, 24\).*\(40, 48\)"):
            CropDataset([DataSet(folder)], 16, 1, 0)[0]
        write_image(folder / "ir" / "01.png", np.zeros((40, 48), np.uint16))
        with pytest.raises(ImageError, match=r"8 bit.*uint16"):
            CropDataset([DataSet(folder)], 16, 1, 0)[0]

    def test_the_cache_changes_nothing(self, tmp_path, monkeypatch):
        folder = make_pairs(tmp_path, 4)
        cached = sources(CropDataset([DataSet(folder)], 16, 20, 0))
        monkeypatch.setattr(data, "CACHE_BYTES", 0)
        uncached = CropDataset([DataSet(folder)], 16, 20, 0)
        assert sources(uncached) == cached
        assert not uncached._cache


def test_salience_is_how_far_a_pixel_stands_out_of_its_surroundings():
    """A small object 30 gray levels above a flat scene: 1 - exp(-12 · 30 / 255); a step fades."""
    scene = np.full((64, 640), 100, np.uint8)
    scene[30:34, 300:304] = 130
    salient = data.salience(scene)
    assert salient[31, 301] / 255 == pytest.approx(1 - math.exp(-12 * 30 / 255), abs=0.01)
    assert salient[10, 10] == 0
    step = np.repeat([[100, 130]], 320, axis=1).repeat(64, axis=0).astype(np.uint8)
    salient = data.salience(step)
    assert salient[0, 321] > 100 > salient[0, 360] > salient[0, 600] == 0
    assert not salient[:, :320].any()  # colder than the surroundings


def test_half_of_the_images_at_another_exposure(tmp_path):
    dataset = CropDataset([DataSet(make_pairs(tmp_path, 2))], 16, 400, 0)
    gammas = []
    for _, visible, _ in items(dataset):
        values = visible.mean((1, 2)).double()  # of (1, 101, 200) / 255
        gamma = math.log(values[1]) / math.log(101 / 255)
        assert values[2].item() == pytest.approx((200 / 255) ** gamma, rel=1e-4)
        gammas.append(gamma)
    changed = [gamma for gamma in gammas if abs(gamma - 1) > 1e-5]
    assert len(changed) == pytest.approx(200, abs=40)
    assert 0.6 <= min(changed) < 0.65
    assert 2.1 < max(changed) <= 2.2
