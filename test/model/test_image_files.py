import cv2
import numpy as np
import pytest
from helpers.pair_files import make_pairs
from PIL import Image, ImageOps

from dreamif_model.errors import ImageError
from dreamif_model.image_files import (
    PairPaths,
    find_pairs,
    read_gray,
    read_image,
    read_rgb,
    write_image,
)
from dreamif_model.output_files import is_ours


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

    def test_hidden_files_are_no_images(self, tmp_path):
        make_pairs(tmp_path, 2)
        for folder in ("ir", "vi"):
            (tmp_path / folder / "._00.png").write_bytes(b"Mac OS X")
        (tmp_path / "vi" / ".extra.png").touch()
        pairs = find_pairs(tmp_path / "ir", tmp_path / "vi")
        assert [pair.stem for pair in pairs] == ["00", "01"]

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

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_degrees(self, tmp_path, rng, dtype):
        path, degrees = tmp_path / "celsius.tiff", rng.normal(20, 9, (5, 7)).astype(dtype)
        assert cv2.imwrite(str(path), degrees)
        found = read_gray(path)
        assert found.dtype == np.float32
        assert np.array_equal(found, degrees.astype(np.float32))
        with pytest.raises(ImageError, match="visible image must be 8 bit"):
            read_rgb(path)

    def test_other_depths(self, tmp_path):
        path = tmp_path / "color.tiff"
        assert cv2.imwrite(str(path), np.zeros((4, 4, 3), np.float32))
        with pytest.raises(ImageError, match=r"color\.tiff holds float32.*°C as gray float32"):
            read_image(path)

    def test_several_pages(self, tmp_path):
        path, page = tmp_path / "pages.tiff", np.zeros((4, 6), np.uint16)
        assert cv2.imwritemulti(str(path), [page, page])
        with pytest.raises(ImageError, match=r"pages\.tiff has several pages: write each as a"):
            read_image(path)

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, tmp_path, suffix, orientation):
        """Pillow turns the stored pixels as the standard says; so do we, whatever OpenCV does."""
        path = tmp_path / f"turned{suffix}"
        stored = np.zeros((32, 48, 3), np.uint8)
        stored[:16, :24] = 255, 0, 0
        stored[:16, 24:] = 0, 255, 0
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(path, exif=exif)
        with Image.open(path) as image:
            expected = np.array(ImageOps.exif_transpose(image))
        found = read_rgb(path)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() < 3

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

    @pytest.mark.parametrize("name", ["image.png", "image.jpg"])
    def test_our_files_are_known(self, tmp_path, rng, name):
        path, foreign = tmp_path / name, tmp_path / f"foreign_{name}"
        pixels = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        write_image(path, pixels)
        assert cv2.imwrite(str(foreign), pixels[..., ::-1])
        assert np.array_equal(read_rgb(path), read_rgb(foreign))
        assert is_ours(path)
        assert not is_ours(foreign)

    @pytest.mark.parametrize(
        "start", [b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0+"]
    )
    def test_cut_off_headers(self, tmp_path, rng, start):
        for length in range(40):
            (tmp_path / "cut.png").write_bytes(start + rng.bytes(length))
            with pytest.raises(ImageError, match=r"cut\.png"):
                read_image(tmp_path / "cut.png")
