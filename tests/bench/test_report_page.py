"""The report in headless Chromium: it opens from a file, sorts, filters, and fits a phone, in light and dark."""

import os
from pathlib import Path

import pytest
from browser import Page, chromium
from fabricated import RANGES, TUNING, UNTRAINED, after_of, control_records, matrix, table_records

from fdiv_gym.bench import Resampling, tables_of, write_bench_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SHOWN = "[...document.querySelectorAll('#table-leaderboard tbody tr')].filter(r => !r.hidden)"
ROWS = f"{SHOWN}.map(r => r.cells[0].innerText)"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    records = table_records() | control_records()
    after = {
        n: {**a, "log_ratio": [x + 0.02 * i for x in a["log_ratio"]]}
        for i, (n, a) in enumerate(after_of(records).items())
    }
    tables = tables_of(
        matrix(name='<script>document.title = "hacked"</script>'), records, TUNING, UNTRAINED, after,
        score_ranges=RANGES, how=Resampling(draws=500),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("report")
    provenance = {"fdiv_gym": "0.1.0", "versions": {"torch": "2.13.0"}, "command": "</pre><script>throw 1</script>"}
    return write_bench_report(tables, folder, provenance).as_uri()


@pytest.fixture
def page(url, tmp_path):
    found = Page(tmp_path / "profile")
    try:
        found.emulate(1200, 900)
        found.open(url)
        yield found
        assert found.problems == []
        assert url in found.requests
        assert {request for request in found.requests if not request.startswith("data:")} <= {url, "about:blank"}
    finally:
        found.close()


def shot(page, name):
    """A screenshot, where somebody wants to look at it."""
    if os.environ.get("FDIV_GYM_SHOTS"):
        page.screenshot(Path(os.environ["FDIV_GYM_SHOTS"]) / f"{name}.png")


def test_it_opens_and_shows_every_section_and_figure(page):
    titles = page.evaluate("[...document.querySelectorAll('h2')].map(h => h.innerText)")
    assert titles == ["Results", "Heat map", "Learning", "Performance profiles", "After training",
                      "Reward against divergence from the reference", "Score against true score", "Failures",
                      "Controls", "Tuning", "Provenance"]  # fmt: skip
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert page.evaluate("document.images.length") > 20
    assert "hacked" not in page.evaluate("document.title").split(">")[0]
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    shot(page, "desktop-light")


def test_a_header_sorts_by_numbers_in_both_directions_from_the_keyboard(page):
    header = "document.querySelectorAll('#table-leaderboard thead th')[2]"
    assert page.evaluate(ROWS) == ["f-GRPO pearson", "<b>RLOO</b> & co", "GRPO"]
    page.evaluate(f"{header}.querySelector('button').focus()")
    page.press("Enter")
    assert page.evaluate(f"{header}.getAttribute('aria-sort')") == "ascending"
    assert page.evaluate(ROWS) == ["GRPO", "<b>RLOO</b> & co", "f-GRPO pearson"]
    page.press("Enter")
    assert page.evaluate(f"{header}.getAttribute('aria-sort')") == "descending"
    assert page.evaluate(ROWS) == ["f-GRPO pearson", "<b>RLOO</b> & co", "GRPO"]
    page.evaluate("document.querySelector('#table-leaderboard thead button').click()")  # by name
    assert page.evaluate(ROWS) == ["<b>RLOO</b> & co", "f-GRPO pearson", "GRPO"]
    assert page.evaluate(f"{header}.getAttribute('aria-sort')") == "none"


def test_cells_without_a_number_are_last_in_both_directions(page):
    column = "document.querySelectorAll('#table-heatmap thead button')[2]"
    last = "[...document.querySelectorAll('#table-heatmap tbody tr')].pop().cells[2].innerText"
    for _ in range(2):
        page.evaluate(f"{column}.click()")
        assert page.evaluate(last) == "-"


def test_a_filter_leaves_the_rows_with_its_words(page):
    page.evaluate("document.querySelector('#table-leaderboard input').focus()")
    page.send("Input.insertText", text="rloo CO")
    assert page.evaluate(ROWS) == ["<b>RLOO</b> & co"]
    assert page.evaluate("document.querySelector('#table-leaderboard output').innerText") == "1 of 3 rows"
    page.evaluate("const i = document.querySelector('#table-leaderboard input'); i.value = ''; "
                  "i.dispatchEvent(new Event('input'))")  # fmt: skip
    assert len(page.evaluate(ROWS)) == 3


def test_the_selector_shows_one_divergence_at_a_time(page):
    shown = (
        "[...document.querySelectorAll('figure[data-choice]')].filter(f => f.offsetParent).map(f => f.dataset.choice)"
    )
    assert page.evaluate(shown) == ["kl", "kl"]
    page.evaluate(
        "const s = document.querySelector('select'); s.value = 'hellinger'; s.dispatchEvent(new Event('change'))"
    )
    assert page.evaluate(shown) == ["hellinger", "hellinger"]


def test_dark_pages_have_light_text_and_inverted_figures(page):
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    light = page.evaluate(colours)
    inverted = "getComputedStyle(document.images[0]).filter"
    assert page.evaluate(inverted) == "none"
    page.emulate(1200, 900, "dark")
    dark = page.evaluate(colours)
    brightness = [[sum(map(int, c.strip("rgb()").split(","))) for c in pair] for pair in (light, dark)]
    assert brightness[0][0] < 300 < 600 < brightness[0][1]
    assert brightness[1][1] < 150 < 500 < brightness[1][0]
    assert page.evaluate(inverted) == "invert(1) hue-rotate(180deg)"
    shot(page, "desktop-dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_in_their_own_box_and_never_the_page(page, scheme):
    page.emulate(375, 800, scheme)
    assert page.evaluate("innerWidth") == 375
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate("document.querySelector('#table-leaderboard .scroll').scrollWidth") > 375
    outside = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll'))"
    wide = f"{outside}.filter(e => e.getBoundingClientRect().right > 376)"
    assert page.evaluate(f"{wide}.map(e => e.tagName)") == []
    shot(page, f"phone-{scheme}")
    for section in ("learning", "divergence", "controls"):
        page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        shot(page, f"phone-{scheme}-{section}")


def test_sections_for_screenshots(page):
    for scheme in ("light", "dark"):
        page.emulate(1200, 1000, scheme)
        for section in page.evaluate("[...document.querySelectorAll('main > section')].map(s => s.id)"):
            page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
            assert page.evaluate(f"document.getElementById('{section}').innerText.length") > 20
            shot(page, f"{scheme}-{section}")
