"""The pages on divergences name every registered divergence and show existing figures."""

from __future__ import annotations

import re
from pathlib import Path

import fdiv_gym as fg

FOLDER = Path(__file__).parents[2] / "docs" / "theory"
PAGES = {page.name: page.read_text() for page in FOLDER.glob("*.md")}


def test_every_registered_divergence_has_a_page():
    for entry in fg.list_entries("divergence"):
        assert f"`{entry.name}`" in PAGES["index.md"]
        assert sum(f"`{entry.name}`" in text.splitlines()[0] for text in PAGES.values()) == 1, entry.name


def test_every_figure_and_link_exists():
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([\w/.]+)(?:#[\w-]+)?\)", text):
            assert (FOLDER / target).exists(), f"{name} points at {target}"
    drawn = {path.stem for path in (FOLDER / "img").glob("*.svg")}
    assert drawn == {name.removesuffix(".md") for name in PAGES} - {"index", "objectives", "derivations", "gprl"}
    assert all(path.stat().st_size < 80_000 for path in (FOLDER / "img").glob("*.svg"))
