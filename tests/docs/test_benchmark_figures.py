"""The figures on the page of the benchmarks are those of the committed results."""

import re

from docs_pages import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"


def test_every_figure_of_a_result_is_shown_and_current():
    shown = re.findall(r"!\[[^\]]+\]\(img/([\w.]+)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(path.name for path in RESULTS.glob("*.png"))
    assert shown
    for name in shown:
        same = (ROOT / "docs" / "img" / name).read_bytes() == (RESULTS / name).read_bytes()
        assert same, f"docs/img/{name} is not the figure in benchmarks/results: run python docs/generate.py"
