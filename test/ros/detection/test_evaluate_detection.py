"""``dreamif evaluate-detection``: its examples, tables and data sets, and the simulated street."""

import argparse
import json
from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from helpers import ROOT
from helpers.detected import detections

from dreamif_model import ConfigError, DreamIFError, FusionPipeline
from dreamif_model.comparison import BASELINES
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.image_files import find_pairs, read_image, write_image
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.cli import evaluate_detection
from dreamif_ros.detection.annotations import AnnotationError, read_labels
from dreamif_ros.detection.dataset import write_datasets
from dreamif_ros.detection.examples import (
    Example,
    detect_all,
    draw_pictures,
    file_examples,
    scene_examples,
)
from dreamif_ros.scene import Scene, SceneConfig

MODEL = ROOT.parent / "shared" / "data" / "yolo11n_int8_openvino_model"
NAMES = {0: "person", 1: "bicycle", 2: "car"}
CLASSES = {"person": 0, "car": 2}
METHODS = ["visible", "infrared", "average", "max"]


class BrightSpots:
    """A detector that finds one car around all that is white and a person around all gray 128."""

    names = NAMES

    def __init__(self, config=None):
        self.config = config
        self.seen = []

    def detect(self, image):
        self.seen.append(image)
        rows = []
        for level, number, score in ((255, 2, 0.9), (128, 0, 0.6)):
            y, x = np.nonzero((image == level).all(axis=2))
            if len(x):
                rows.append((x.min(), y.min(), x.max() + 1, y.max() + 1, score, number))
        return detections(*rows)


@pytest.fixture
def average():
    return FusionPipeline("average", "cpu")


def test_every_method_sees_the_same_degraded_pair(rng, average):
    visible = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    infrared = rng.integers(0, 256, (24, 32), dtype=np.uint8)  # resized to the visible image
    pictures = draw_pictures(visible, infrared, {"x": average}, average)
    assert list(pictures) == [*METHODS, "fused x", "detection x"]
    expected = average.fuse(visible, infrared, detection_image=True)
    np.testing.assert_array_equal(pictures["fused x"], expected.fused)
    np.testing.assert_array_equal(pictures["detection x"], expected.detection_image)
    aligned = average.infrared_alone(infrared, visible.shape).fused
    np.testing.assert_array_equal(pictures["visible"], visible)
    np.testing.assert_array_equal(pictures["infrared"], aligned)
    np.testing.assert_array_equal(pictures["max"], np.maximum(visible, aligned))
    np.testing.assert_array_equal(pictures["average"], BASELINES["average"].fuse(aligned, visible))

    conditions = {"dark": DegradationSpec.parse(["visible=low_light:3"])}
    detector = BrightSpots()
    example = Example("a", infrared, visible)
    clean, dark = detect_all([example], conditions, {}, average, detector)
    assert (clean.condition, dark.condition) == ("clean", "dark")
    np.testing.assert_array_equal(clean.pictures["visible"], visible)
    np.testing.assert_array_equal(dark.pictures["infrared"], aligned)
    assert dark.pictures["visible"].mean() < visible.mean() / 2
    assert len(detector.seen) == 8
    assert list(dark.detections) == METHODS


def test_the_truth_of_the_scene_lies_on_its_people():
    size = (160, 120)
    first, second = scene_examples(2, [3], size)
    scene = Scene(SceneConfig(3, visible_size=size, infrared_size=size))
    boxes = scene.boxes(0.5)
    assert (first.name, second.name) == ("3_0000", "3_0001")
    np.testing.assert_array_equal(second.visible, scene.visible(0.5))
    assert second.truth.names == tuple(box.label for box in boxes)
    assert second.truth.dark == tuple(box.dark for box in boxes)
    corners = np.array([(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes])
    np.testing.assert_allclose(second.truth.boxes, corners + 0.5, atol=1e-3)
    people = [
        second.infrared[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1].max()
        for (x1, y1, x2, y2), name in zip(second.truth.boxes, second.truth.names, strict=True)
        if name == "person" and y2 - y1 > 12
    ]
    assert min(people) > np.median(second.infrared) + 50


def run(*arguments):
    parser = argparse.ArgumentParser()
    evaluate_detection.add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate-detection", *map(str, arguments)])
    return options.run(options)


@pytest.fixture
def pairs(tmp_path):
    """A white car that only the visible image shows, a gray person that only infrared does."""
    for folder in ("ir", "vi", "labels"):
        (tmp_path / folder).mkdir()
    for number, stem in enumerate(("a", "b", "c")):
        visible, infrared = np.zeros((2, 48, 64), np.uint8)
        visible[10:20, 5:25] = 255
        infrared[20:40, 40 + number : 50 + number] = 128
        write_image(tmp_path / "vi" / f"{stem}.png", np.dstack([visible] * 3))
        write_image(tmp_path / "ir" / f"{stem}.png", infrared)
    (tmp_path / "labels" / "classes.txt").write_text("person\nauto\nsign\n")
    for number, stem in enumerate(("a", "b")):  # c has no file, so no objects
        center = (45 + number) / 64
        (tmp_path / "labels" / f"{stem}.txt").write_text(
            f"1 {15 / 64} {15 / 48} {20 / 64} {10 / 48}\n"
            f"0 {center} {30 / 48} {10 / 64} {20 / 48}\n"
            "2 0.5 0.5 0.1 0.1\n"
        )
    return tmp_path


@pytest.fixture
def bright_spots(monkeypatch):
    monkeypatch.setattr(evaluate_detection, "Detector", BrightSpots)


def table_rows(printed):
    rows = [line.split() for line in printed.splitlines() if line.startswith((*METHODS, "fused"))]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.usefixtures("bright_spots", "ultralytics")
def test_a_table_per_condition_a_picture_and_json(pairs, capsys):
    status = run(
        *("--model", "x.onnx", "--ir", pairs / "ir", "--vi", pairs / "vi"),
        *("--labels", pairs / "labels", "--map", "auto=car", "--variant", "average"),
        *("--degrade", "visible=low_light:3"),
        *("--picture", pairs / "sheet.png", "--json", pairs / "report.json"),
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert "YOLO text labels of 2 images" in printed
    assert "1 of 3 images have no label file: no objects" in printed
    assert "not judged: sign" in printed
    clean, dark = printed.split("visible=low_light:3, 3 images")
    assert "clean, 3 images" in clean
    # Each camera alone shows one of two classes; the false alarm in `c` comes after two hits.
    assert table_rows(clean)["visible"][0::4] == ["4", "0.497"]
    assert table_rows(clean)["max"][-1] == "1.000"
    assert float(table_rows(clean)["max"][2]) == 1
    assert table_rows(clean)["infrared"][-1] == table_rows(dark)["infrared"][-1] == "0.500"
    assert table_rows(dark)["visible"][-1] == "0.000"
    report = json.loads((pairs / "report.json").read_text())
    assert report["judged"] == {"auto": 2, "person": 0}
    assert (report["images"], report["settings"]["model"]) == (3, "x.onnx")
    rows = {(row["condition"], row["method"]): row for row in report["results"]}
    assert len(rows) == 12  # of 2 conditions and 6 methods
    assert rows["clean", "visible"]["ap50"].keys() == {"person", "car"}
    assert rows["clean", "visible"]["ap50"]["person"] == 0
    assert rows["clean", "visible"]["found"] == 0.5
    assert read_image(pairs / "sheet.png").shape == (28 + 2 * 300, 6 * 400, 3)


@pytest.mark.usefixtures("bright_spots")
def test_counts_where_there_are_no_labels(pairs, capsys):
    paths = ["--ir", pairs / "ir", "--vi", pairs / "vi"]
    options = ["--variant", "average", "--markdown", "--json", pairs / "report.json"]
    assert run("--model", "x.onnx", *paths, *options, "--confidence", "0.7") == 0
    printed = capsys.readouterr().out
    assert "| method | boxes | images with any | confidence | car |" in printed
    assert "| max | 3 | 3 | 0.900 | 3 |" in printed
    assert "| infrared | 0 | 0 | - | 0 |" in printed
    report = json.loads((pairs / "report.json").read_text())
    assert [row["confidence"] for row in report["results"]][:2] == [pytest.approx(0.9), None]


@pytest.mark.usefixtures("bright_spots", "ultralytics")
def test_what_the_cameras_show_in_place_of_labels(pairs, capsys):
    """Each camera shows one of the two objects; in the dark the clean images' objects count."""
    paths = ["--ir", pairs / "ir", "--vi", pairs / "vi", "--json", pairs / "report.json"]
    options = ["--sure", "--variant", "average", "--degrade", "visible=low_light:3"]
    assert run("--model", "x.onnx", *paths, *options) == 0
    report = json.loads((pairs / "report.json").read_text())
    found = {(row["condition"], row["method"]): row["found"] for row in report["results"]}
    assert found["clean", "max"] == 1
    assert found["clean", "visible"] == found["clean", "infrared"] == 0.5
    assert found["visible=low_light:3", "visible"] == 0
    assert {row["objects"] for row in report["results"]} == {6}
    assert (report["settings"]["sure"], report["judged"]["car"]) == (0.5, 2)
    capsys.readouterr()
    with pytest.raises(ConfigError, match="there is no object of bicycle"):
        run("--model", "x.onnx", *paths, "--sure", "--class", "bicycle", "--force")
    with pytest.raises(ConfigError, match="takes the place of --labels"):
        run("--model", "x.onnx", *paths, "--sure", "--labels", pairs / "labels", "--force")


@pytest.mark.usefixtures("bright_spots")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --model FILE to detect with, or --write-dataset DIR"),
        (["--model", "x", "--write-dataset", "d", "--scene"], "or --write-dataset DIR instead"),
        (["--model", "x"], "give --ir and --vi, or --scene"),
        (["--model", "x", "--scene", "0"], "--scene is 0 frames"),
        (["--model", "x", "--scene", "--scene-seed", "-1"], "--scene-seed is -1"),
        (["--model", "x", "--scene", "--scene-size", "10x10"], "--scene-size 10x10: "),
        (["--model", "x", "--scene", "--labels", "l"], "--labels and --scene exclude each other"),
        (["--model", "x", "--ir", "i", "--vi", "v", "--scene-seed", "1"], "goes with --scene"),
        (["--model", "x", "--ir", "i", "--vi", "v", "--scene-size", "1x1"], "goes with --scene"),
        (["--model", "x", "--scene", "3", "--every", "4"], "--every and --scene exclude"),
        (["--model", "x", "--scene", "--sequence"], "--sequence and --scene exclude"),
        (["--model", "x", "--scene", "--picture", "."], "--picture . is a folder"),
        (["--model", "x", "--scene", "--degrade", ""], "expected NAME:STRENGTH"),
        (["--model", "x", "--ir", "i", "--vi", "v", "--names", "n"], "goes with --labels"),
        (["--model", "x", "--scene", "--confidence", "0"], "--confidence is 0, expected 0.001"),
        (["--model", "x", "--scene", "--confidence", "nan"], "--confidence is nan"),
        (["--model", "x", "--ir", "i", "--vi", "v", "--map", "a=car"], "--map goes with --labels"),
        (["--model", "x", "--scene", "--sure"], "--sure and --scene exclude each other"),
        (["--model", "x", "--ir", "i", "--vi", "v", "--sure", "1"], "--sure is 1, expected 0.001"),
        (["--model", "x", "--scene", "--map", "person"], "expected LABEL=DETECTOR"),
        (["--model", "x", "--scene", "--map", "a=tram"], "the model has no class 'tram'"),
        (["--model", "x", "--scene", "--class", "tram"], "the model has no class 'tram'"),
        (["--model", "x", "--scene", "--degrade", "fog:3"], "fog"),
        (["--model", "x", "--scene", "--json", "no/such/folder.json"], "make its folder first"),
        (["--model", "x", "--scene", "--seed", "-1"], "--seed is -1"),
        (["--write-dataset", "d", "--scene", "--json", "r.json"], "--json goes with --model"),
        (["--write-dataset", "d", "--scene", "--class", "tram"], "the labels have person, car"),
    ],
)
def test_wrong_calls(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        run(*options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("bright_spots")
def test_labels_of_other_images(pairs):
    paths = ["--model", "x", "--ir", pairs / "ir", "--vi", pairs / "vi", "--variant", "average"]
    (pairs / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(AnnotationError, match=r"a\.txt:2: class 9, expected 0 to 2: .*classes"):
        run(*paths, "--labels", pairs / "labels")
    for stem in ("a", "b"):
        (pairs / "labels" / f"{stem}.txt").rename(pairs / "labels" / f"other_{stem}.txt")
    with pytest.raises(AnnotationError, match=r"looked for a\.txt, b\.txt, c\.txt, found other"):
        run(*paths, "--labels", pairs / "labels")


def test_data_sets_in_yolo_layout(pairs, average, capsys):
    paths = ["--ir", pairs / "ir", "--vi", pairs / "vi", "--labels", pairs / "labels"]
    out = pairs / "data"
    options = ["--variant", "average", "--class", "person", "--class", "auto"]
    assert run(*paths, "--write-dataset", out, *options) == 0
    printed = capsys.readouterr().out
    assert f"yolo detect train data={out}/fused_average/data.yaml model=yolo11n.yaml" in printed
    names = {"visible", "infrared", "average", "max", "fused_average", "detection_average"}
    assert {folder.name for folder in out.iterdir()} == names
    root = out / "fused_average"
    content = yaml.safe_load((root / "data.yaml").read_text())
    assert content["names"] == {0: "auto", 1: "person"}
    assert sorted(path.name for path in (root / content["train"]).iterdir()) == ["b.png", "c.png"]
    assert [path.name for path in (root / content["val"]).iterdir()] == ["a.png"]
    fused = read_image(root / "images" / "train" / "b.png")
    visible, infrared = (read_image(pairs / name / "b.png") for name in ("vi", "ir"))
    expected = average.fuse(visible=visible, infrared=infrared).fused
    np.testing.assert_array_equal(fused, expected)
    again = read_labels(root / "labels" / "train", ["b", "c"]).of("b").truth(64, 48)
    assert again.names == ("auto", "person")
    np.testing.assert_allclose(again.boxes, [[5, 10, 25, 20], [41, 20, 51, 40]], atol=1e-3)
    with pytest.raises(ConfigError, match="is not an empty folder"):
        run(*paths, "--write-dataset", out, *options)


def test_labels_without_objects_are_no_data_set(pairs):
    paths = ["--ir", pairs / "ir", "--vi", pairs / "vi", "--labels", pairs / "labels"]
    for path in (pairs / "labels").glob("?.txt"):
        path.write_text("")
    with pytest.raises(ConfigError, match=r"^the labels hold no objects: nothing to write$"):
        run(*paths, "--write-dataset", pairs / "data")


@pytest.mark.parametrize("smoothing", [1.0, 0.03])
def test_the_range_of_16_bit_infrared_follows_as_asked(pairs, rng, smoothing):
    thermal = ThermalConfig(smoothing=smoothing)
    files = find_pairs(pairs / "ir", pairs / "vi")[:2]
    for low, pair in zip((1000, 2000), files, strict=True):
        counts = rng.integers(low, low + 3000, (48, 64), dtype=np.uint16)
        write_image(pair.infrared, counts)
    normalizer = ThermalNormalizer(thermal)
    for pair, example in zip(files, file_examples(files, None, thermal), strict=True):
        expected = normalizer.normalize(read_image(pair.infrared))
        np.testing.assert_array_equal(example.infrared, expected)


def test_a_data_set_needs_labels(pairs, average, tmp_path):
    with pytest.raises(ConfigError, match="--write-dataset needs --labels, or --scene"):
        run("--ir", pairs / "ir", "--vi", pairs / "vi", "--write-dataset", pairs / "data")
    example = Example("a", np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(AnnotationError, match="a has no labels"):
        write_datasets(tmp_path / "out", [example], ["person"], {}, average)


@pytest.mark.usefixtures("ultralytics")
@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_a_real_detector_on_the_street(tmp_path, capsys):
    if not MODEL.is_dir():
        pytest.skip(f"needs the detector in {MODEL}")
    options = ["--scene", "1", "--variant", "average", "--class", "person"]
    options += ["--degrade", "visible=low_light:4", "--device", "cpu"]
    report, sheet = tmp_path / "report.json", tmp_path / "sheet.jpg"
    assert run("--model", MODEL, *options, "--json", report, "--picture", sheet) == 0
    assert "not judged: car" in capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    rows = {(row["condition"], row["method"]): row for row in results}
    assert {row["objects"] for row in results} == {rows["clean", "visible"]["objects"]}
    assert rows["clean", "infrared"]["found"] > 0.4
    assert rows["clean", "infrared"]["map50"] > 0.5
    # The light is taken from the visible camera alone.
    dark = rows["visible=low_light:4", "visible"]
    assert dark["found"] < rows["clean", "visible"]["found"] - 0.2
    assert rows["visible=low_light:4", "infrared"] == {
        **rows["clean", "infrared"],
        "condition": "visible=low_light:4",
    }
    with pytest.raises(DreamIFError, match=r"there is no model .*absent\.onnx"):
        run("--model", tmp_path / "absent.onnx", *options)
    with pytest.raises(ConfigError, match="the model has no class 'tram'"):
        run("--model", MODEL, *options, "--class", "tram")
