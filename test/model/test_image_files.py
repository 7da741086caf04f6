import cv2
import numpy as np
import pytest
from helpers.pair_files import make_pairs

from dreamif_model.errors import ImageError
from dreamif_model.image_files import (
    PairPaths,
    find_pairs,
    read_gray,
    read_image,
    read_rgb,
    write_image,
)


class TestFindPairs:
    def test_folders_by_stem_in_order(self, tmp_path):
        ir, vi = tmp_path / "ir", tmp_path / "vi"
        for folder, names in (
            (ir, ("b.png", "a.tiff", "c.PNG")),
            (vi, ("c.jpg", "a.png", "b.bmp")),
        ):
            folder.mkdir()
            for name in names:
                (folder / name).touch()
        (vi / "notes.txt").touch()
        assert find_pairs(ir, vi) == [
            PairPaths(ir / "a.tiff", vi / "a.png"),
            PairPaths(ir / "b.png", vi / "b.bmp"),
            PairPaths(ir / "c.PNG", vi / "c.jpg"),
        ]

    def test_files_need_not_share_a_name(self, tmp_path):
        ir, vi = tmp_path / "thermal.png", tmp_path / "color.png"
        ir.touch()
        vi.touch()
        (pair,) = find_pairs(ir, vi)
        assert pair == PairPaths(infrared=ir, visible=vi)
        assert pair.stem == "color"

    def test_missing(self, tmp_path):
        with pytest.raises(ImageError, match=r"no such file or folder: .*nowhere"):
            find_pairs(tmp_path, tmp_path / "nowhere")

    def test_a_file_and_a_folder(self, tmp_path):
        (tmp_path / "a.png").touch()
        with pytest.raises(ImageError, match="two files or two folders"):
            find_pairs(tmp_path / "a.png", tmp_path)

    def test_empty(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(ImageError, match=r"no images \(.*\.png.*\) in "):
            find_pairs(tmp_path, tmp_path)

    def test_no_partner(self, tmp_path):
        make_pairs(tmp_path, 9)
        for i in range(3):
            (tmp_path / "vi" / f"{i:02}.png").unlink()
        with pytest.raises(ImageError, match=r"3 images have no partner.*: 00, 01, 02$"):
            find_pairs(tmp_path / "ir", tmp_path / "vi")
        for i in range(3, 6):
            (tmp_path / "ir" / f"{i:02}.png").unlink()
        with pytest.raises(ImageError, match=r"6 images have no partner.*: 00, 01, 02, 03, 04 …$"):
            find_pairs(tmp_path / "ir", tmp_path / "vi")

    def test_two_files_of_one_name(self, tmp_path):
        make_pairs(tmp_path, 2)
        (tmp_path / "vi" / "01.jpg").touch()
        with pytest.raises(ImageError, match=r"more than one image of the same name.*01\.jpg"):
            find_pairs(tmp_path / "ir", tmp_path / "vi")


class TestReadImage:
    def test_missing(self, tmp_path):
        with pytest.raises(ImageError, match=r"no such image file: .*none\.png"):
            read_image(tmp_path / "none.png")

    @pytest.mark.parametrize("content", [b"", b"this is text\n", b"\x89PNG\r\n\x1a\n"])
    def test_no_image(self, tmp_path, content):
        path = tmp_path / "image.png"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"cannot read .*image\.png"):
            read_image(path)

    def test_float(self, tmp_path):
        path = tmp_path / "celsius.tiff"
        assert cv2.imwrite(str(path), np.full((4, 4), 36.6, np.float32))
        with pytest.raises(ImageError, match=r"celsius\.tiff holds float32.*8 or 16 bit"):
            read_image(path)

    def test_16_bit_png_round_trip(self, tmp_path, rng):
        counts = rng.integers(0, 65536, (5, 7), dtype=np.uint16)
        write_image(tmp_path / "counts.png", counts)
        result = read_image(tmp_path / "counts.png")
        assert result.dtype == np.uint16
        assert np.array_equal(result, counts)
        assert np.array_equal(read_gray(tmp_path / "counts.png"), counts)
        with pytest.raises(ImageError, match="visible image must be 8 bit"):
            read_rgb(tmp_path / "counts.png")

    def test_rgb_round_trip(self, tmp_path, rng):
        rgb = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        write_image(tmp_path / "rgb.png", rgb)
        assert np.array_equal(read_image(tmp_path / "rgb.png"), rgb)
        luma = np.rint(rgb @ np.array([0.299, 0.587, 0.114]))
        assert read_gray(tmp_path / "rgb.png") == pytest.approx(luma, abs=1)

    def test_gray_as_rgb(self, tmp_path, rng):
        gray = rng.integers(0, 256, (5, 7), dtype=np.uint8)
        write_image(tmp_path / "gray.png", gray)
        assert np.array_equal(read_rgb(tmp_path / "gray.png"), np.dstack([gray] * 3))

    def test_alpha_is_dropped(self, tmp_path, rng):
        bgra = rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / "alpha.png"), bgra)
        assert np.array_equal(read_rgb(tmp_path / "alpha.png"), bgra[..., 2::-1])

    @pytest.mark.parametrize("name", ["image.xyz", "image"])
    def test_write_to_an_unknown_format(self, tmp_path, name):
        with pytest.raises(ImageError, match=rf"cannot write .*{name}.*use \.png"):
            write_image(tmp_path / name, np.zeros((4, 4), np.uint8))
        assert not (tmp_path / name).exists()
