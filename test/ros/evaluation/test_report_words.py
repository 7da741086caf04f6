"""What the report of a bag says: sentences, tables, numbers."""

import json
import math
import re
from dataclasses import replace

import pytest

pytest.importorskip("plotly", reason="needs plotly: pip install 'dreamif_ros[report]'")

from helpers.report_samples import SILENT, evaluation, no_pairs

from dreamif_model.metrics import METRICS
from dreamif_ros.evaluation.evaluation_results import (
    AlignmentFound,
    ClockOffsetFound,
    MeanInterval,
)
from dreamif_ros.evaluation.report import write_report
from dreamif_ros.evaluation.report.numbers import milliseconds, number, percent, seconds, whole
from dreamif_ros.evaluation.report.tables import command, definitions, metric_rows
from dreamif_ros.evaluation.report.timelines import over_time
from dreamif_ros.evaluation.report.words import (
    glance,
    noise_sentence,
    offset_sentence,
    removed_sentence,
    verdict,
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pairs": 300, "fused": 300}, "300 pairs in 10.0 s, all fused."),
        ({"pairs": 300, "fused": 0}, "300 pairs in 10.0 s, none of them fused."),
        ({"pairs": 1, "fused": 1, "duration_s": 0.5}, "1 pair in 0.50 s, fused."),
        (
            {"pairs": 9000, "fused": 8999, "duration_s": 300.2},
            "9\u2009000 pairs in 5 min 0 s, 8\u2009999 of them fused (99.9 %).",
        ),
        (
            {"pairs": 300, "fused": 60, "settings": {"every": 5}},
            "300 pairs in 10.0 s; one of 5 was to be fused, 60 were.",
        ),
    ],
)
def test_verdicts(changes, sentence):
    assert verdict(evaluation(**changes))[0] == sentence


def test_no_messages_and_no_common_time_are_told_apart():
    silent = no_pairs(visible=replace(no_pairs().visible, messages=0))
    assert "The visible topic /camera/image_raw has no messages." in verdict(silent)
    apart = no_pairs(infrared=replace(no_pairs().infrared, refused=0))
    assert "no two of them are stamped close enough" in verdict(apart)[1]


def test_metrics_have_definitions_and_the_best_is_marked():
    rows = {row.name: row for row in metric_rows(evaluation())}
    assert list(rows) == [name for name in METRICS if name not in ("LPIPS", "flicker")]
    assert [cell.method for cell in rows["Qabf"].cells if cell.best] == ["fused"]
    assert [cell.method for cell in rows["SSIM"].cells if cell.best] == ["average"]
    assert [cell.method for cell in rows["Nabf"].cells if cell.best] == ["average"]  # lower
    assert (rows["Nabf"].arrow, rows["SSIM"].range) == ("↓", "−2 to 2")
    assert rows["Qabf"].cells[0].interval == "0.586 to 0.610"
    texts = {definition.name: definition.text for definition in definitions(evaluation())}
    assert set(texts) == {*rows, "flicker"}
    assert "Xydeas & Petrović" in texts["Qabf"]
    assert "Args:" not in texts["flicker"]
    assert ":func:" not in texts["Nabf"]


def test_numbers_that_are_none_are_told(tmp_path):
    flawed = evaluation(
        metrics={"fused": {"Qabf": MeanInterval(math.nan, math.nan, math.nan)}},
        flicker={"fused": math.nan, "average": math.inf, "max": 0.5},
        latency_ms={"network": {"median": math.nan, "p99": math.inf}, "decode": {}},
        skew_ms={},
        clock_offset=ClockOffsetFound(None, None, "nothing moves in the infrared images."),
        alignment=AlignmentFound(None, None, None, None),
        rows=tuple(replace(row, skew_ms=math.nan, alignment=math.inf) for row in evaluation().rows),
    )
    write_report(flawed, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = re.search(r'id="report-data">(.*?)</script>', text, re.S).group(1)
    json.loads(data, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert "Not to be told for fused, average" in text
    assert "It cannot be told: nothing moves in the infrared images." in text
    assert "No homography was found." in text


def test_clock_offsets_in_words():
    assert "after adding +52 ms ± 4.0 ms." in offset_sentence(
        evaluation(clock_offset=ClockOffsetFound(0.052, 0.004))
    )
    assert "the clocks agree" in offset_sentence(
        evaluation(clock_offset=ClockOffsetFound(-0.001, 0.004))
    )
    facts = {fact.term: fact.value for fact in glance(evaluation())}
    assert facts["clock offset"] == "−8.1 ms"
    assert facts["fused"] == "118 of 120"


def test_numbers_as_people_read_them():
    assert [number(v) for v in (0.00312, 1.23456, 12.3456, 123.456, math.nan, None, -0.00001)] == [
        "0.0031", "1.235", "12.35", "123.5", "–", "–", "0.0000",
    ]  # fmt: skip
    assert [milliseconds(v) for v in (4.14, 52.4, -8.12)] == ["4.1 ms", "52 ms", "−8.1 ms"]
    assert [seconds(v) for v in (4.25, 10, 200)] == ["4.25 s", "10.0 s", "3 min 20 s"]
    assert [percent(v) for v in (0, 0.001, 0.5, 0.999, 1)] == [
        "0 %", "0.1 %", "50 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert whole(12345) == "12\u2009345"


def test_lines_break_where_frames_are_missing_unless_that_is_often():
    charts = {chart.key: chart for chart in over_time(evaluation())}
    first, second = charts["skew"].traces
    assert (len(first["x"]), len(second["x"])) == (SILENT.start, 150 - SILENT.stop)
    whole_rows = evaluation().rows
    rows = tuple(replace(row, time_s=i // 2 * 10 + i % 2 * 0.1) for i, row in enumerate(whole_rows))
    often = {chart.key: chart for chart in over_time(evaluation(rows=rows[:110]))}
    assert sum(len(trace["x"]) for trace in often["skew"].traces) == 110


def test_noise_in_words():
    levels = {"noise_infrared": 9.46, "noise_visible": 13.1, "stripes": 5.5, "stripes_counts": 34.2}
    removed = {"removed_infrared": 10.0, "removed_visible": 11.0}
    whole = evaluation(noise=levels | removed)
    assert "infrared 9.5, visible 13.1, stripes 5.5 (34 counts)" in noise_sentence(whole)
    assert removed_sentence(whole).endswith("Medians: infrared 10.0, visible 11.0.")
    off = replace(whole, noise=levels)
    assert removed_sentence(off).endswith("--temporal-mode auto takes noise out.")
    charts = {chart.key: chart for chart in over_time(off)}
    assert {trace["name"] for trace in charts["noise"].traces} == {"infrared", "visible", "stripes"}
    assert (charts["removed"].traces, charts["removed"].missing) == (
        [],
        "Nothing: the memory was off.",
    )
    quiet = replace(off, noise=dict.fromkeys(levels, 0.5))
    assert removed_sentence(quiet).endswith("root mean square.")


def test_how_to_make_it_again():
    assert command(evaluation()).startswith("dreamif bag evaluate /data/recordings/night_drive_03")
    assert command(no_pairs(bag="my bag")) == "dreamif bag evaluate 'my bag'"
