"""The report of a bag, in a real Chromium: how it looks and behaves, and what it says."""

import base64
import re
import sys
from dataclasses import replace
from itertools import pairwise

import pytest

pytest.importorskip("plotly", reason="needs plotly: pip install 'dreamif_ros[report]'")

from helpers.browser import chromium_pages, wait_until
from helpers.report_samples import evaluation, no_pairs, one_pair

from dreamif_model import DreamIFError
from dreamif_ros.evaluation.evaluation_results import (
    ClockOffsetFound,
    FilmFrame,
    MeanInterval,
    Spell,
)
from dreamif_ros.evaluation.report import write_report
from dreamif_ros.evaluation.report.numbers import milliseconds, number, percent, seconds
from dreamif_ros.evaluation.report.words import verdict

HOSTILE = "/cam</script><script>window.broken=1</script><img src=x onerror=window.broken=2>\u2028"
ROW_CHARTS = {  # trace's name: of a row
    "skew": {"skew": lambda row: row.skew_ms},
    "thermal": {"black": lambda row: row.thermal_low, "white": lambda row: row.thermal_high},
    "alignment": {"alignment": lambda row: row.alignment},
    "dominance": {
        "infrared": lambda row: row.dominance_infrared,
        "visible": lambda row: row.dominance_visible,
    },
    "noise": {
        "infrared": lambda row: row.noise_infrared,
        "visible": lambda row: row.noise_visible,
        "stripes": lambda row: row.stripes,
    },
    "removed": {
        "infrared": lambda row: row.removed_infrared,
        "visible": lambda row: row.removed_visible,
    },
    "detections": {
        name: lambda row, name=name: row.detections[name]
        for name in ("visible", "infrared", "fused")
    },
}
DRAWN = """key => document.getElementById('plot-' + key)._fullData.map(
  t => ({name: t.name, x: [...t.x], y: [...t.y]}))"""
PATHS = """() => [...document.querySelectorAll('div.plot')].map(
  p => [p.dataset.key, p.querySelectorAll('g.trace path').length])"""
CONTRAST = """selectors => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (text) => {
    const [r, g, b] = rgb(text).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [ground, selectors.map(s => {
    const text = light(getComputedStyle(document.querySelector(s)).color);
    return [s, (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05)];
  })];
}"""


@pytest.fixture(scope="module")
def open_page():
    with chromium_pages() as open_page:
        yield open_page


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    found = {"whole": evaluation(), "no_pairs": no_pairs(), "one_pair": one_pair()}
    for name, sample in found.items():
        write_report(sample, folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in found}


@pytest.fixture(scope="module")
def opened(open_page, reports):
    return open_page(reports["whole"])


@pytest.fixture
def page(opened):
    """The whole report, as it is when it opens."""
    opened.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    slide(opened.page, "#film-slider", 0)
    return opened.page


def slide(page, slider, value):
    page.locator(slider).evaluate(
        "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def shown(page):
    """The film's pictures, by name."""
    sources = page.eval_on_selector_all(
        ".frame:not([hidden])", "f => f.map(e => [e.dataset.picture, e.querySelector('img').src])"
    )
    return {name: base64.b64decode(source.partition("base64,")[2]) for name, source in sources}


def body(page):
    return re.sub(r"\s+", " ", page.inner_text("body"))


# ---- what the page does


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("whole", 1280, False),
        ("whole", 1280, True),
        ("whole", 400, False),
        ("whole", 400, True),
        ("no_pairs", 400, True),
        ("one_pair", 400, False),
    ],
)
def test_it_opens_offline_without_complaint_and_fits(open_page, reports, name, width, dark):
    opened = open_page(reports[name], width=width, dark=dark)
    page = opened.page
    assert opened.errors == []
    assert opened.requests == [reports[name]]  # the file itself, and nothing else
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground, contrasts = page.evaluate(CONTRAST, ["body", ".kicker", ".verdict", "dd", ".margin"])
    assert (ground < 0.03) if dark else (ground > 0.9)
    assert {selector: ratio for selector, ratio in contrasts if ratio < 4.5} == {}
    page.context.close()


def test_every_chart_is_drawn(page):
    drawn = dict(page.evaluate(PATHS))
    assert len(drawn) == 8 + 12 + 2
    assert {key for key, paths in drawn.items() if paths == 0} == set()


@pytest.mark.parametrize("key", ROW_CHARTS)
def test_charts_hold_the_rows(page, key):
    traces, sample = page.evaluate(DRAWN, key), evaluation()
    for name, value in ROW_CHARTS[key].items():
        points = {
            time: amount
            for trace in traces
            if trace["name"] == name
            for time, amount in zip(trace["x"], trace["y"], strict=True)
        }
        rows = [row for row in sample.rows if value(row) is not None]
        assert list(points) == pytest.approx([row.time_s for row in rows], abs=1e-5)
        assert list(points.values()) == pytest.approx([value(row) for row in rows], rel=1e-6)


def test_rates_and_drops_by_reason(page):
    traces, rates = page.evaluate(DRAWN, "rates"), evaluation().rates
    assert [trace["name"] for trace in traces] == [
        "visible", "infrared", "fused", "unpaired visible", "beyond slop",
    ]  # fmt: skip
    for trace in traces:
        assert trace["x"] == [time + 0.5 for time in rates["time_s"]]
        assert trace["y"] == rates[trace["name"]]


def test_latency_flicker_and_intervals(page):
    sample = evaluation()
    latency = page.evaluate(
        "(() => { const t = document.getElementById('plot-latency')._fullData[0];"
        " return [[...t.y], [...t.x], [...t.error_x.array]]; })()"
    )
    stages, medians, reach = latency
    assert stages == list(sample.latency_ms)
    assert medians == [times["median"] for times in sample.latency_ms.values()]
    assert [a + b for a, b in zip(medians, reach, strict=True)] == pytest.approx(
        [times["p99"] for times in sample.latency_ms.values()]
    )
    flicker = page.evaluate(DRAWN, "flicker")[0]
    assert dict(zip(flicker["y"], flicker["x"], strict=True)) == sample.flicker
    dots = page.evaluate(DRAWN, "metric-Qabf")
    assert {dot["name"]: dot["x"][0] for dot in dots} == {
        method: found["Qabf"].mean for method, found in sample.metrics.items()
    }


def test_arrow_keys_step_the_film(page):
    film = evaluation().film
    assert shown(page) == film[0].pictures
    page.keyboard.press("ArrowRight")
    assert shown(page) == film[1].pictures
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == film[1].pictures
    assert page.inner_text("#film-place").startswith(f"2 of 6: {seconds(film[1].row.time_s)}")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    assert shown(page) == film[0].pictures


def test_home_end_and_buttons(page):
    film = evaluation().film
    page.focus("#film-after")
    page.keyboard.press("End")
    assert shown(page) == film[-1].pictures
    assert page.is_disabled("#film-after")
    page.click("#film-before")
    assert shown(page) == film[-2].pictures
    page.focus("#film-before")
    page.keyboard.press("Home")
    assert shown(page) == film[0].pictures


def test_slider_by_keyboard_and_what_it_tells(page):
    film = evaluation().film
    page.focus("#film-slider")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("ArrowRight")
    assert shown(page) == film[1].pictures
    page.keyboard.press("End")
    assert shown(page) == film[-1].pictures
    assert outline == "solid"  # focus is seen
    slide(page, "#film-slider", 3)
    row = film[3].row
    told = page.inner_text("#film-readout")
    for text in (seconds(row.time_s), milliseconds(row.skew_ms), percent(row.dominance_infrared)):
        assert text in told
    value = page.get_attribute("#film-slider", "aria-valuetext")
    assert value == f"4 of 6: {seconds(row.time_s)}, pair {row.index}"


def test_a_click_on_a_chart_shows_the_nearest_frame(page):
    film = evaluation().film
    page.locator("#plot-skew").scroll_into_view_if_needed()
    box = page.locator("#plot-skew").bounding_box()
    for index in (4, 1):
        x = page.evaluate(
            "t => { const a = document.getElementById('plot-skew')._fullLayout.xaxis;"
            " return a._offset + a.d2p(t); }",
            film[index].row.time_s + 0.2,
        )
        page.mouse.click(box["x"] + x, box["y"] + 60)
        assert shown(page) == film[index].pictures
    line = page.evaluate("document.getElementById('plot-thermal').layout.shapes.at(-1).x0")
    assert line == pytest.approx(film[1].row.time_s, abs=1e-5)


def test_charts_zoom_together(page):
    ranges = "[...document.querySelectorAll('#time .plot')].map(p => p._fullLayout.xaxis.range)"
    page.evaluate("Plotly.relayout('plot-skew', {'xaxis.range[0]': 2, 'xaxis.range[1]': 4})")
    wait_until(page, f"{ranges}.every(r => r[0] === 2 && r[1] === 4)")
    page.evaluate("Plotly.relayout('plot-dominance', {'xaxis.autorange': true})")
    wait_until(page, f"{ranges}.every(r => r[0] < 0 && r[1] > 9.9)")


def test_pictures_enlarge_and_the_wipe_moves(page):
    narrow = page.locator(".frame[data-picture=fused]").bounding_box()["width"]
    button = page.locator(".frame[data-picture=fused] button")
    button.click()
    assert page.locator(".frame[data-picture=fused]").bounding_box()["width"] > 2.5 * narrow
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    slide(page, "#wipe-slider", 20)
    clip = page.eval_on_selector(".wiped .top", "e => getComputedStyle(e).clipPath")
    assert clip == "inset(0px 80% 0px 0px)"
    slide(page, "#wipe-slider", 50)


def test_dark_and_light_are_followed_while_it_is_open(open_page, reports):
    page = open_page(reports["whole"]).page
    color = "document.getElementById('plot-skew')._fullData[0].line.color"
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    wait_until(page, f"{color} !== {light!r}")
    assert (light, page.evaluate(color)) == ("#1d1e20", "#e7e5e0")
    page.context.close()


def test_it_can_be_read_without_seeing(page):
    assert page.eval_on_selector_all("img:not([alt]), img[alt='']", "e => e.length") == 0
    names = page.eval_on_selector_all(
        "button, input", "e => e.map(b => b.getAttribute('aria-label') || b.textContent.trim())"
    )
    assert len(names) == 2 + 1 + 5 + 1
    assert all(names)
    unlabelled = "div.plot:not([aria-label]):not([aria-hidden=true])"
    assert page.locator(unlabelled).count() == 0
    assert page.get_attribute("html", "lang") == "en"
    levels = page.eval_on_selector_all("h1, h2, h3", "e => e.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == (
        page.evaluate("document.querySelectorAll('[id]').length")
    )


# ---- what it says


def test_the_summary_and_the_warnings_come_first(page):
    sample, text = evaluation(), body(page)
    places = [text.index(part) for part in (*verdict(sample), *sample.warnings, "Over time")]
    assert places == sorted(places)
    assert verdict(sample)[:2] == [
        "120 pairs in 10.0 s, 118 of them fused (98 %).",
        f"Median skew {milliseconds(sample.skew_ms['median'])}.",
    ]
    assert "30 unpaired visible, 2 beyond slop" in text
    assert "infrared silent for 2.00 s" in text


def test_a_bag_without_pairs_says_why(open_page, reports):
    opened = open_page(reports["no_pairs"], width=400)
    text = body(opened.page)
    for part in (
        "No pair of images was found, so nothing was fused.",
        "No infrared image could be used: encoding bayer_rggb16 is a colour mosaic",
        "The file is cut off after 9.4 s",
        "Name the thermal topic with --infrared-topic.",
        "It cannot be told: no infrared image was read.",
        "of fused pairs, and there are none",
        "150 refused infrared",
    ):
        assert part in text
    assert [key for key, _ in opened.page.evaluate(PATHS)] == ["rates"]
    assert opened.page.locator("#film").count() == 0
    opened.page.context.close()


def test_one_pair_has_sentences_in_place_of_charts(open_page, reports):
    opened = open_page(reports["one_pair"])
    text = body(opened.page)
    skew = evaluation().rows[0].skew_ms
    for part in (
        "1 pair in 0.01 s, fused.",
        f"One frame only, nothing to draw over time: {number(skew)} (ms).",
        "It was not judged in any frame.",
        "too short for rates over time",
        "flicker is the change between frames and needs two or more",
        "No detector was asked for.",
        "No homography was found: no edges in common.",
        "Nothing: no warnings",
    ):
        assert part in text
    assert [key for key, _ in opened.page.evaluate(PATHS)] == ["metric-Qabf", "latency"]
    assert opened.page.is_disabled("#film-after")
    opened.page.context.close()


# ---- hostile texts, files, errors


def test_hostile_texts_stay_texts(open_page, tmp_path):
    sample = evaluation()
    film = tuple(
        FilmFrame(frame.row, frame.pictures | {'"><script>x': frame.pictures["fused"]})
        for frame in sample.film[:2]
    )
    hostile = evaluation(
        bag=HOSTILE,
        settings={HOSTILE: HOSTILE, "nested": {"a": [HOSTILE]}},
        infrared=replace(
            sample.infrared, topic=HOSTILE, encodings=(HOSTILE,), refused=1, refusal=HOSTILE,
            freezes=(Spell(1, 2),),
        ),
        drops={HOSTILE: 7},
        rates=sample.rates | {HOSTILE: sample.rates["fused"]},
        warnings=(HOSTILE,),
        faults=(HOSTILE,),
        clock_offset=ClockOffsetFound(None, None, HOSTILE),
        latency_ms={HOSTILE: {"median": 1.0, "p99": 2.0}},
        metrics={"fused": dict.fromkeys(("Qabf", HOSTILE), MeanInterval(1, 0, 2)), HOSTILE: {}},
        film=film,
        video=tmp_path / "fu</script>sed.mkv",
    )  # fmt: skip
    write_report(hostile, tmp_path / "report.html")
    opened = open_page((tmp_path / "report.html").as_uri())
    assert opened.errors == []
    assert opened.requests == [(tmp_path / "report.html").as_uri()]
    assert opened.page.evaluate("window.broken") is None
    assert opened.page.eval_on_selector(".cameras tbody td", "e => e.textContent") == HOSTILE
    assert opened.page.evaluate("document.scripts.length") == 3
    assert opened.page.get_attribute(".settings a", "href") == "fu%3C/script%3Esed.mkv"
    assert HOSTILE in [trace["name"] for trace in opened.page.evaluate(DRAWN, "rates")]
    opened.page.context.close()


def test_half_characters_in_names_are_written(tmp_path):
    write_report(no_pairs(bag="drive\udc80"), tmp_path / "report.html")
    assert "drive\\udc80" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_equal_evaluations_give_equal_bytes(tmp_path):
    write_report(evaluation(), tmp_path / "a.html")
    write_report(evaluation(), tmp_path / "b.html")
    first, second = ((tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert b"plotly.js v" in first


def test_files_beside_the_report_are_linked(tmp_path):
    beside = evaluation(video=tmp_path / "fused 1.mkv", fused_bag=tmp_path.parent / "bag")
    write_report(beside, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="fused%201.mkv"' in text
    assert f'href="{(tmp_path.parent / "bag").as_uri()}"' in text


@pytest.mark.parametrize("module", ["plotly.offline", "jinja2"])
def test_what_to_install_without_the_libraries(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DreamIFError, match=r"pip install 'dreamif_ros\[report\]'") as raised:
        write_report(evaluation(), tmp_path / "report.html")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="absent"):
        write_report(no_pairs(), tmp_path / "absent" / "report.html")
