"""The page with links to many reports: its words, and how it behaves in a real Chromium."""

import os

import pytest
from helpers.browser import chromium_pages

from dreamif_ros.evaluation.fleet_summary import FleetRow, summary_csv
from dreamif_ros.evaluation.report.index import cells, glance, render_index, verdict

RIGHT = """Math.max(...[...document.querySelectorAll('#table *')].map(
  element => element.getBoundingClientRect().right))"""


def row(name, **values):
    found = {
        "bag": f"/data/{name}.mcap",
        "folder": name,
        "duration_s": 10.0,
        "pairs": 100,
        "fused": 100,
        "skew_median_ms": 4.0,
        "skew_p95_ms": 9.5,
        "metrics": {
            "fused": {"Qabf": 0.6, "SSIM": 1.2, "VIFF": 0.9},
            "average": {"Qabf": 0.4, "SSIM": 1.3, "VIFF": 0.7},
            "max": {"Qabf": 0.5, "SSIM": 1.1, "VIFF": 0.8},
        },
        "flicker": {"fused": 0.9, "average": 0.8, "max": 1.1},
    }
    return FleetRow(name, **found | values)


ROWS = [
    row("drive10", duration_s=3600.0, metrics={}, flicker={}, skew_median_ms=None),
    row("drive9", warnings=("The clocks differ: pass --infrared-offset 0.1", "more"), fused=70),
    row("drive<b>11", duration_s=5.0, drops=7, fused=0, failure="nothing could be fused"),
    FleetRow("torn", "/data/torn.mcap", None, "the bag is cut off"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    (folder / "index.html").write_text(render_index(ROWS, "fleet"), encoding="utf-8")
    (folder / "drive9").mkdir()
    (folder / "drive9" / "report.html").write_text("<title>ninth</title>")
    with chromium_pages() as open_page:
        yield lambda **options: open_page((folder / "index.html").as_uri(), **options)


class TestIndex:
    def test_words(self):
        assert verdict(ROWS).startswith("2 of 4 bags fused without failure. 1 bag came with")
        facts = {fact.term: (fact.value, fact.note) for fact in glance(ROWS)}
        assert facts["pairs fused"] == ("170", "57 % of those found")
        assert facts["recorded"][0] == "60 min 15 s"
        assert facts["bags"] == ("4", "2 failed")
        best = {cell.text for cell in cells(ROWS[1]) if cell.best}
        assert best == {"0.600", "0.900"}  # not SSIM, nor flicker, where lower is better
        assert verdict(ROWS[3:]) == "None of 1 bag could be evaluated."

    def test_csv_of_names_with_odd_bytes(self):
        name = os.fsdecode(b"caf\xe9")
        odd = row(name)
        assert "caf%E9/report.html" in render_index([odd], "fleet")
        assert summary_csv([odd]).count("\n") == 2

    def test_sorting(self, opened):
        page = opened().page

        def names():
            return page.locator("#table tbody th a").all_text_contents()

        assert names() == ["drive10", "drive9", "drive<b>11"]
        page.click("#table thead button >> text=length")
        assert names() == ["drive10", "drive9", "drive<b>11"]
        page.click("#table thead button >> text=length")
        assert names() == ["drive<b>11", "drive9", "drive10"]
        page.click("#table thead button >> text=bag")
        assert names() == ["drive<b>11", "drive9", "drive10"]  # numbers as numbers
        page.click("#table thead button >> text=drops")
        page.click("#table thead button >> text=skew")
        assert names()[-1] == "drive10"  # it has none

    def test_a_row_leads_to_its_report(self, opened):
        opened_page = opened()
        opened_page.page.click("text=drive9")
        opened_page.page.wait_for_url("**/drive9/report.html")
        assert opened_page.page.title() == "ninth"
        assert opened_page.errors == []

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("width", [400, 1280])
    def test_nothing_is_wider_than_the_page(self, opened, width, dark):
        found = opened(width=width, dark=dark)
        assert found.errors == []
        assert all(url.startswith("file:") for url in found.requests)
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width
        assert found.page.evaluate(RIGHT) <= width
        ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(21, 23, 26)") == dark

    def test_the_choice_of_a_phone_sorts(self, opened):
        page = opened(width=400).page
        page.select_option("#sort", label="drops")
        assert page.locator("#table tbody th a").first.text_content() == "drive<b>11"
