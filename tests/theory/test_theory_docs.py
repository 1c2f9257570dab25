"""Pages of docs/theory name the claims that measure their statements, and mark the others."""

import re
from pathlib import Path

import pytest

from fdiv_gym.theory import claims

FOLDER = Path(__file__).parents[2] / "docs" / "theory"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
ALL = {measure.__name__ for measure in claims.list_claims()}
MEASUREMENTS = {measure.__name__ for measure in claims.list_measurements()}


def named(text: str, kind: str) -> set[str]:
    """Names in ``(check: `a`, `b`)`` or ``measurement `a```."""
    pattern = r"\(check:\s([^()]*)\)" if kind == "check" else r"\(measurements? ([^()]*)\)"
    return {name for part in re.findall(pattern, text) for name in re.findall(r"`([a-z0-9_]+)`", part)}


@pytest.mark.parametrize("page", PAGES)
def test_named_claims_exist(page):
    assert named(PAGES[page], "check") - {"name"} <= ALL - MEASUREMENTS
    assert named(PAGES[page], "measurement") <= MEASUREMENTS


def test_every_claim_has_its_statement():
    stated = set().union(*(named(text, "check") | named(text, "measurement") for text in PAGES.values()))
    assert {name for name in ALL if not name.startswith("formula_of_")} - stated == set()


@pytest.mark.parametrize("page", sorted(set(PAGES) - {"objectives.md"}))
def test_every_section_says_what_is_checked(page):
    for section in re.split(r"^## ", PAGES[page], flags=re.MULTILINE)[1:]:
        marked = "(check:" in section or "(no check)" in section or "(measurement" in section
        assert marked, f"{page}, {section.splitlines()[0]!r}: name a claim or write (no check)"
