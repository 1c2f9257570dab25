"""The documentation builds strictly, without a network, and its pages load nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("material", reason="needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # A closed proxy port: any network access fails at once.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow  # as all tests that build the site
def test_pages_load_nothing_from_elsewhere(site):
    remote = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(https?:)?//[^\">]+")
    found = [
        (page.name, match.group(0))
        for page in site.rglob("*.html")
        for match in remote.finditer(page.read_text(encoding="utf-8"))
        if 'rel="canonical"' not in match.group(0)
    ]
    assert found == []


@pytest.mark.slow
def test_no_page_shows_the_escape_of_a_vertical_bar(site):
    shown = {
        page.relative_to(site).as_posix(): re.findall(
            r".{0,40}\\\|.{0,20}",
            re.sub(r"<(pre|script)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL),
        )
        for page in site.rglob("*.html")
    }
    assert {page: found for page, found in shown.items() if found} == {}, "in a table: <code>a &#124; b</code>"


@pytest.mark.slow
def test_the_reference_holds_the_public_functions(site):
    text = (site / "reference" / "functional.html").read_text(encoding="utf-8")
    for name in ("f_grpo_loss", "fdo_loss", "f_hal_loss", "group_advantages"):
        assert f'id="fdiv_gym.functional.{name}"' in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_files_at_the_top_exist(name):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_citation_names_the_version():
    from fdiv_gym.version import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    assert [p for p in pages if p not in nav] == []
