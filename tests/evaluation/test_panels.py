"""Panels of callbacks: written as JSON, read as hostile input, shown in the report."""

import base64
import json
import math
import re

import numpy as np
import pytest

import fdiv_gym as fg
from fdiv_gym.runs import PANELS, RunFolder, panels_of, write_report
from fdiv_gym.runs.panels import POINTS_SHOWN, read_panels
from fdiv_gym.runs.plots import series_plot


class Shares(fg.Callback):
    """Two series and a table."""

    def panels(self):
        series = {"form": [(1, 0.25), (2, math.nan), (np.int64(3), np.float64(0.5))], "a $\\frac{<b>": [(1, 1.0)]}
        table = fg.PanelTable("Events <i>", ["step", "what"], [[2, "lowered <script>alert(1)</script>"], [3, None]])
        return [fg.Panel("Drift & shares", [fg.PanelFigure("Shares", "share", series)], [table])]


RECORD = {
    "callback": "Shares",
    "title": "Drift & shares",
    "figures": [
        {
            "title": "Shares",
            "unit": "share",
            "series": {"form": [[1, 0.25], [2, None], [3, 0.5]], "a $\\frac{<b>": [[1, 1.0]]},
        }
    ],
    "tables": [
        {
            "title": "Events <i>",
            "columns": ["step", "what"],
            "rows": [[2, "lowered <script>alert(1)</script>"], [3, None]],
        }
    ],
}


@pytest.fixture
def run(tmp_path):
    """A folder of a run with one step."""
    folder = RunFolder.create(tmp_path / "run", {"trainer": {"steps": 1}})
    folder.append("metrics.jsonl", {"step": 1, "loss": 0.5})
    return folder


def page_of(run):
    return write_report(run.path).read_text("utf-8")


def test_a_callback_s_panels_become_records_that_json_can_hold():
    found = panels_of(Shares())
    assert json.loads(json.dumps(found, allow_nan=False)) == [RECORD] == found
    assert panels_of(fg.Callback()) == []


def test_an_integer_that_json_cannot_hold_is_the_callback_s_fault():
    callback = Shares()
    table = fg.PanelTable("Events", ["step"], [[10**5000]])
    callback.panels = lambda: [fg.Panel("t", [], [table])]
    with pytest.raises(fg.PluginError, match=r"callback .*: panels returned what is no .* integer beyond 1e\+30"):
        panels_of(callback)


def test_the_report_shows_them_and_escapes_their_texts(run):
    without = page_of(run)
    run.write_json(PANELS, {"panels": [RECORD]})
    page = page_of(run)
    assert "<h2>Drift &amp; shares</h2>" in page
    assert "By the callback Shares." in page
    assert "series 2: a $\\frac{&lt;b&gt;" in page
    assert "<h3>Events &lt;i&gt;</h3>" in page
    assert "<td>2</td><td>lowered &lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert "<td>3</td><td>-</td>" in page
    assert "<script" not in page
    images = re.findall(r'data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(images) == 1 + len(re.findall("data:image", without))
    drawn = [base64.b64decode(image).decode() for image in images]
    assert sum("series 2" in svg and "frac" not in svg for svg in drawn) == 1
    assert 'class="bad"' not in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "panels.json cannot be read: Expecting property name"),
        ("[1]", "panels.json is damaged: it holds no JSON object"),
        ('{"panels": 3}', "panels.json is damaged: it holds no list of panels"),
        ('{"other": []}', "panels.json is damaged: it holds no list of panels"),
        ('{"panels": [3, {"title": "a"}]}', "panels.json: 2 panels are damaged and not shown"),
        ("[" * 100_000, "panels.json cannot be read: maximum recursion depth"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_of_the_report_is_written(run, content, message):
    (run.path / PANELS).write_text(content)
    page = page_of(run)
    assert message in page
    assert "Loss" in page


def altered(**changes):
    return {**RECORD, **changes}


@pytest.mark.parametrize(
    "panel",
    [
        altered(title=3),
        altered(figures=3),
        altered(figures=[{"title": "a", "unit": "b", "series": [1]}]),
        altered(figures=[{"title": "a", "unit": "b", "series": {"a": [[1, 2, 3]]}}]),
        altered(tables=[{"title": "a", "columns": ["b"], "rows": ["text"]}]),
        altered(tables=[{"title": "a", "columns": ["b"], "rows": [[{"c": 1}]]}]),
        altered(tables=[{"title": "a", "columns": "bc", "rows": {}}]),
    ],
)
def test_a_panel_that_is_none_is_left_out_and_the_others_are_shown(run, panel):
    run.write_json(PANELS, {"panels": [panel, RECORD]})
    panels, note = read_panels(run)
    assert [p["title"] for p in panels] == ["Drift & shares"]
    assert note.endswith("panels.json: 1 panels are damaged and not shown")


def test_numbers_and_lengths_are_bounded(run):
    points = [[i, 1.0] for i in range(3 * POINTS_SHOWN)] + [[1, "x"], [2, 1e300], [10**400, 1.0], [True, 1], ["1", 1]]
    figure = {"title": "a", "unit": "\u202e$", "series": {str(i): points for i in range(30)}}
    table = {"title": "t", "columns": ["c"] * 40, "rows": [["\x1b[31m" * 3, 10**400]] * 700}
    panel = altered(figures=[figure] * 2, tables=[table])
    text = json.dumps({"panels": [panel, *[RECORD] * 20]})
    (run.path / PANELS).write_text(text.replace('"x"', "NaN"))
    panels, note = read_panels(run)
    assert note.endswith("13 more panels are not shown")
    series = panels[0]["figures"][0]["series"]
    assert len(series) == 20
    assert [len(kept) for kept in series.values()] == [POINTS_SHOWN] * 20
    assert (len(panels[0]["tables"][0]["columns"]), len(panels[0]["tables"][0]["rows"])) == (30, 500)
    run.write_json(PANELS, {"panels": [altered(figures=[], tables=[table])]})
    page = page_of(run)
    assert "200 more rows are not shown." in page
    assert "\x1b" not in page


@pytest.mark.parametrize("name", ["s{}", "a component with a name of 40 letters {}"])
@pytest.mark.parametrize("count", [6, 7, 13, 20])
def test_a_figure_of_many_series_keeps_its_axes(name, count):
    series = {name.format(k): [(step, k + step % 5) for step in range(9)] for k in range(count)}
    image, replaced = series_plot(series, "score")  # warns where no room is left for the axes, and a warning fails
    drawn = base64.b64decode(image.split(",")[1]).decode()
    (box,) = re.findall(r'<g id="patch_2">\s*<path d="M ([\d.]+) [\d.]+ \s*L ([\d.]+) [\d.]+', drawn)
    assert float(box[1]) - float(box[0]) > 100  # points of 1/72 inch
    assert drawn.count("<!-- ") >= count
    assert replaced == {}


def test_without_panels_there_is_no_part_and_no_message(run):
    assert read_panels(run) == ([], "")
    assert "By the callback" not in page_of(run)
