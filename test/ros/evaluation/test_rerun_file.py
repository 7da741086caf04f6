"""`dreamif bag evaluate --rerun`: what the file holds, read back with Rerun's own reader."""

import sys
from collections import Counter

import cv2
import numpy as np
import pytest
from helpers.bag_files import START_NS, street_messages, write_bag

from dreamif_model import DreamIFError, FusionPipeline
from dreamif_model.errors import ConfigError
from dreamif_ros.bag import read_pairs
from dreamif_ros.cli import build_parser
from dreamif_ros.detection.detector import Detections
from dreamif_ros.evaluation import evaluate_bag as module
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag

PERIOD_NS, FRAMES, MEASURED = 100_000_000, 10, 3
PICTURES = ("infrared", "visible", "fused", "dominance")
BOX = np.array([[4, 3, 20, 30]], np.float32)


class OneBox:
    """A detector that finds one person in every image."""

    def __init__(self, *_):
        self.names = {0: "person"}

    def detect(self, _):
        return Detections(BOX, np.array([0.75], np.float32), np.array([0]))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """One second at 10 Hz."""
    return write_bag(tmp_path_factory.mktemp("bags") / "street", street_messages(1))


def evaluated(bag, folder, **settings):
    values = {"check": False, "metric_frames": MEASURED, "film_frames": 0} | settings
    return evaluate_bag(
        bag,
        FusionPipeline("average", "cpu"),
        EvaluationSettings(**values),
        folder,
        write_video=False,
        rerun=folder / "street.rrd",
        workers=2,
    )


def read(path):
    """By entity: a list of (stamp in ns, {component: value})."""
    found = {}
    for chunk in pytest.importorskip("rerun").chunk.RrdReader(path).stream():
        batch = chunk.to_record_batch()
        columns = {name.rpartition(":")[2]: batch.column(name) for name in batch.schema.names}
        if "stamp" not in columns:
            continue  # the layout and the name of the recording
        stamps = columns.pop("stamp").cast("int64").to_pylist()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        found.setdefault(chunk.entity_path, []).extend(zip(stamps, rows, strict=True))
    return {entity: sorted(rows, key=lambda row: row[0]) for entity, rows in found.items()}


@pytest.fixture(scope="module")
def written(bag, tmp_path_factory):
    """The evaluation, and what its file holds."""
    pytest.importorskip("rerun", reason="needs rerun-sdk (extra rerun)")
    folder = tmp_path_factory.mktemp("rerun")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_detector", OneBox)
        found = evaluated(bag, folder, detector="a_model")
    return found, read(folder / "street.rrd")


def picture(row):
    (content,) = row["blob"].as_py()
    return cv2.imdecode(np.array(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def scalars(rows):
    return [row["scalars"].as_py()[0] for _, row in rows]


def test_every_frame_has_its_pictures_at_its_stamp(written):
    found, entities = written
    assert found.fused == FRAMES
    stamps = [START_NS + PERIOD_NS * index for index in range(FRAMES)]
    for name in (*PICTURES, "fused/boxes"):
        assert [stamp for stamp, _ in entities[f"/{name}"]] == stamps


def test_pictures_are_those_of_the_pipeline(written, bag):
    _, entities = written
    pipeline = FusionPipeline("average", "cpu")
    pair = next(iter(read_pairs(bag)))
    expected = pipeline.fuse(pair.visible, pair.infrared)
    shown = {name: picture(entities[f"/{name}"][0][1]) for name in PICTURES}
    for name, image in (("visible", pair.visible), ("fused", expected.fused)):
        assert shown[name].shape == image.shape
        error = np.abs(shown[name].astype(int) - image)
        assert error.mean() < 3  # gray levels, of JPEG
    assert len({shown[name].tobytes() for name in PICTURES}) == len(PICTURES)


def test_numbers_are_those_of_the_rows(written):
    found, entities = written
    measured = [row for row in found.rows if row.metrics]
    assert len(measured) == MEASURED
    for method in ("fused", "average", "max"):
        rows = entities[f"/metrics/Qabf/{method}"]
        assert [stamp for stamp, _ in rows] == [row.stamp_ns for row in measured]
        assert scalars(rows) == [row.metrics[method]["Qabf"] for row in measured]
    assert scalars(entities["/rows/skew_ms"]) == [row.skew_ms for row in found.rows]
    assert scalars(entities["/rows/objects_fused"]) == [1] * FRAMES
    assert "/rows/fused_Qabf" not in entities
    inferred = scalars(entities["/latency_ms/infer"])
    assert len(inferred) == FRAMES
    assert np.median(inferred) == pytest.approx(found.latency_ms["infer"]["median"])


def test_boxes_have_their_class_and_score(written):
    _, entities = written
    _, box = entities["/fused/boxes"][0]
    assert box["labels"].as_py() == ["person 0.75"]
    (half,), (centre,) = box["half_sizes"].as_py(), box["centers"].as_py()
    corners = [*np.subtract(centre, half), *np.add(centre, half)]
    assert corners == pytest.approx(BOX[0].tolist())


def test_without_a_detector_there_are_no_boxes(bag, tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk (extra rerun)")
    evaluated(bag, tmp_path)
    entities = read(tmp_path / "street.rrd")
    assert Counter(entity.split("/")[1] for entity in entities)["fused"] == 1


def run(*arguments):
    options = build_parser().parse_args(["bag", "evaluate", *map(str, arguments)])
    return options.run(options)


def test_without_the_extra_nothing_is_evaluated_in_vain(bag, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.setattr(
        "dreamif_ros.evaluation.evaluation_job.evaluate_bag", lambda *_, **__: pytest.fail("late")
    )
    with pytest.raises(DreamIFError, match=r"--rerun needs rerun-sdk: pip install '.*\[rerun\]'"):
        run(bag, "--out", tmp_path / "out", "--rerun", tmp_path / "street.rrd")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bags", "name", "message"),
    [
        (1, "street.mcap", "the viewer opens files whose names end with .rrd"),
        (2, "street.rrd", "--rerun is for a single bag"),
        (1, "missing/street.rrd", "make its folder first"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(bag, tmp_path, bags, name, message):
    with pytest.raises(ConfigError, match=message):
        run(*[bag] * bags, "--out", tmp_path / "out", "--rerun", tmp_path / name)
