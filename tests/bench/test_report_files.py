"""The files beside the page: Markdown, LaTeX, CSV and JSON hold the numbers of the tables, and nobody's code."""

import csv
import io
import json
import re

import pytest
from fabricated import OBJECTIVES, RANGES, TUNING, UNTRAINED, after_of, control_records, matrix, table_records

from fdiv_gym.bench import Resampling, tables_of
from fdiv_gym.bench.figures import INK, drawn, figures_of, label, smaller
from fdiv_gym.bench.report import _detectable
from fdiv_gym.bench.sheet import Cell, Sheet, detectable_note, estimate
from fdiv_gym.bench.sheets import sheets_of
from fdiv_gym.bench.texts import latex, long_csv, markdown

F, G, R = OBJECTIVES


@pytest.fixture(scope="module")
def tables():
    records = table_records() | control_records()
    found = tables_of(
        matrix(), records, TUNING, UNTRAINED, after_of(records), score_ranges=RANGES, how=Resampling(draws=500)
    )
    return json.loads(json.dumps(found))  # as read from tables.json


@pytest.fixture(scope="module")
def sheets(tables):
    return {sheet.name: sheet for sheet in sheets_of(tables)}


def test_every_table_has_a_sheet_and_every_row_a_cell_for_each_column(sheets):
    results = ["leaderboard", "pairs", "heatmap", "seeds", "learning", "to-target", "policies", "sharpening"]
    drift = ["divergences", "drift", "drift-pairs", "true-score"]
    controls = ["random-reward", "noise-floor", "untrained", "missing", "tuning"]
    assert list(sheets) == results + drift + controls
    for sheet in sheets.values():
        assert {len(row) for row in sheet.rows} == {len(sheet.columns)}


def test_a_number_is_shown_with_its_interval_and_none_without():
    assert estimate({"value": 0.5, "low": 0.25, "high": 0.75}).text == "0.500 [0.250, 0.750]"
    assert estimate({"value": 0.5, "low": None, "high": None, "note": "one seed"}).text == "0.500"
    assert estimate({"value": None, "low": None, "high": None, "note": "why"}) == Cell("-", note="why")


def test_the_minimum_detectable_effect_and_what_is_left_out_are_printed(tables, sheets):
    effect = tables["comparisons"][0]["minimum_detectable_effect"]
    assert f"Minimum detectable effect: {effect:.3f}" in sheets["pairs"].note
    assert "Left out for all objectives, because a cell has no score: countdown." in sheets["leaderboard"].note
    assert "Chosen at the edge" in sheets["tuning"].note


def test_the_effect_of_each_of_several_comparisons_is_named(tables):
    first = tables["comparisons"][0]
    assert _detectable([first]) == [detectable_note(first)]
    several = _detectable([first, {**first, "updates": 4}])
    assert [note.partition(": ")[0] for note in several] == ["embedded, updates 1", "embedded, updates 4"]


def test_the_csv_has_every_number_in_long_form(tables, sheets):
    rows = list(csv.reader(io.StringIO(long_csv(list(sheets.values())))))
    assert rows[0] == ["table", "row", "column", "value"]
    found = {tuple(row[:3]): row[3] for row in rows[1:]}
    assert len(found) == len(rows) - 1  # no two lines have the same name
    for row in tables["comparisons"][0]["leaderboard"]:
        for end, suffix in (("value", ""), ("low", ".low"), ("high", ".high")):
            assert float(found["leaderboard", row["objective"], f"IQM{suffix}"]) == row["iqm"][end]
    pair = tables["comparisons"][0]["pairs"][0]
    assert float(found["pairs", f"{F} / {G}", "A - B.low"]) == pair["difference"]["low"]
    assert found["pairs", f"{F} / {G}", "A is"] == pair["verdict"]
    assert found["heatmap", G, "countdown"] == ""


def test_a_text_is_no_formula_of_a_spreadsheet():
    sheet = Sheet("t", "t", ("a", "b"), [[Cell("=1+1", "=1+1"), Cell("@x", "@x\n=2")], [Cell("m"), Cell("-1", -1.0)]])
    assert long_csv([sheet]).splitlines()[1:] == ["t,'=1+1,b,'@x =2", "t,m,b,-1.0"]


def test_markdown_has_the_rows_and_escapes(sheets):
    text = markdown(list(sheets.values()), "a | b")
    assert text.startswith("# a \\| b\n")
    assert "| \\<b\\>RLOO\\</b\\> \\& co |" in text
    for sheet in sheets.values():
        lines = text.split(f"\n## {sheet.title}\n")[1].split("\n## ")[0].strip().splitlines()
        table = [line for line in lines if line.startswith("|")]
        assert len(table) == len(sheet.rows) + 2
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(sheet.columns) + 1}


def test_latex_is_balanced_and_escapes(sheets):
    text = latex(list(sheets.values()))
    assert r"\textless{}b\textgreater{}RLOO\textless{}/b\textgreater{} \& co" in text
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} \& \textbackslash{}end" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(sheets)
    bare = re.sub(r"\\[\\{}$&#%_]|\\[a-z]+", "", text)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[$#_^~|<>\"]", bare.partition("\n")[2])
    for sheet, part in zip(sheets.values(), text.split(r"\begin{table}")[1:], strict=True):
        rows = [line for line in part.splitlines() if line.endswith(r" \\")]
        assert len(rows) == len(sheet.rows) + 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(sheet.columns) - 1}
    odd = Sheet("t", "t", ("a",), [[Cell('\\input{x} % ^~ "q" [b] \u6f22\x1b')]])
    assert r"\textbackslash{}input\{x\} \% \textasciicircum{}\textasciitilde{} ''q'' {[}b{]} ?" in latex([odd])


def test_there_is_a_figure_for_each_divergence_and_environment(tables):
    figures = figures_of(tables)
    assert len({figure.file for figure in figures}) == len(figures)
    names = tables["comparisons"][0]["after"][F]["addition"]["divergences"]
    assert [f.choice for f in figures if f.section == "divergence"] == [name for name in names for _ in range(2)]
    assert [f.section for f in figures if f.section != "divergence"] == [
        "results", "heatmap", "learning", "learning", "profiles", "hacking",
    ]  # fmt: skip


def test_figures_are_the_same_each_time(tables):
    figure = figures_of(tables)[0]
    svg, png = drawn(figure)
    assert drawn(figure) == (svg, png)
    assert png.startswith(b"\x89PNG")
    assert INK in svg


def test_a_smaller_figure_keeps_its_texts_and_two_decimals():
    svg = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "x">
<svg width="3.14159pt">
 <metadata>
  <x/>
 </metadata>
 <path d="M 1.23456 -0.00123
L 10 20.005"/>
 <text x="2.999">lr 0.00012  x
y</text>
</svg>
"""
    assert smaller(svg) == (
        '<svg width="3.14pt"><path d="M 1.23 -0 L 10 20"/><text x="3">lr 0.00012  x\ny</text></svg>\n'
    )


def test_labels_of_figures_are_letters_that_the_font_has():
    assert label("$\\bad{$ \u03b1 \u6f22\u202e") == "$\\bad{$ \u03b1 ??"
    assert label("x" * 50) == "x" * 37 + "..."


def test_several_comparisons_have_sheets_and_figures_of_their_own(tables):
    twice = {**tables, "comparisons": [tables["comparisons"][0], {**tables["comparisons"][0], "updates": 4}]}
    sheets = sheets_of(twice)
    assert len({sheet.name for sheet in sheets}) == len(sheets)
    assert {"leaderboard-1", "leaderboard-2"} <= {sheet.name for sheet in sheets}
    assert sheets[0].title == "Leaderboard (embedded, updates 1)"
    assert len({figure.file for figure in figures_of(twice)}) == 2 * len(figures_of(tables))
