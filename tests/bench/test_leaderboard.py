"""The leaderboard: only verified bundles, and one table for what was measured on equal terms."""

import os
import re

import pytest
from bundle_harness import planted_bench, read_values, reseal, write_values
from typer.testing import CliRunner

from fdiv_gym.bench import write_bundle, write_leaderboard
from fdiv_gym.bench.leaderboard import _terms
from fdiv_gym.cli.main import app
from fdiv_gym.errors import BenchError


def damage(bundle):
    values = read_values(bundle, "tuning.json")
    values["trials"][0]["value"] = 0.123
    write_values(bundle, "tuning.json", values)
    reseal(bundle)


def test_a_page_of_one_bundle(bundle, tmp_path):
    done = write_leaderboard([bundle], tmp_path / "page.html")
    assert [len(group.rows) for group in done.groups] == [2]
    iqms = [row.iqm["value"] for row in done.groups[0].rows]
    assert iqms == sorted(iqms, reverse=True)
    tables = read_values(bundle, "report/tables.json")
    assert set(iqms) == {row["iqm"]["value"] for row in tables["comparisons"][0]["leaderboard"]}
    page = done.page.read_text()
    assert done.bundles[0].verified.digest in page
    links = re.findall(r'href="([^"]+)"', page)
    assert {"bundle/report/index.html", "bundle/records/table.jsonl.gz", "bundle/manifest.json"} == set(links)
    assert all((tmp_path / link).is_file() for link in links)
    assert not re.search(r"(?:src|href)=.https?:|@import|url\(", page)


def test_what_is_private_is_not_taken_for_equal():
    def terms(name, digest):
        config = {"env": {"id": "x"}, "model": {"name_or_path": name}, "engine": {}, "trainer": {}}
        return _terms({"x": config}, {"updates": 1}, digest)

    assert terms("[path]/final", "a") != terms("[path]/final", "b")
    assert terms("embedded", "a") == terms("embedded", "b") != terms("other", "a")


def test_a_bundle_that_does_not_verify_is_refused(bundle, tmp_path):
    damage(bundle)
    done = write_leaderboard([bundle], tmp_path / "page.html", skip_refused=True)
    assert (done.page, len(done.refused)) == (None, 1)
    shown = CliRunner().invoke(app, ["leaderboard", str(bundle), "--output", str(tmp_path / "page.html")])
    assert shown.exit_code == 1
    assert "REFUSED" in shown.output
    assert "tuning.json: trials[0].value" in shown.output
    assert not (tmp_path / "page.html").exists()


def test_the_same_bundle_twice_is_refused(planted, bundle, tmp_path):
    with pytest.raises(BenchError, match="are the same bundle"):
        write_leaderboard([planted, bundle], tmp_path / "page.html")


@pytest.mark.slow
def test_other_terms_have_a_table_of_their_own(planted, bundle, tmp_path):
    equal = planted_bench(tmp_path / "seeds", name="<b>other seeds</b>", seeds=[0, 1, 2])
    other = planted_bench(tmp_path / "longer", name="longer", base__engine={"max_new_tokens": 5})
    for folder in (equal, other):
        write_bundle(folder)
    (tmp_path / "pages").mkdir()
    page = tmp_path / "pages" / "page.html"
    done = write_leaderboard([bundle, equal], page)
    assert [len(group.rows) for group in done.groups] == [4]
    assert {row.seeds for row in done.groups[0].rows} == {2, 3}
    assert "<b>other" not in page.read_text()
    damage(bundle)
    done = write_leaderboard([bundle, equal, other], page, skip_refused=True)
    assert len(done.refused) == 1
    assert [len(group.rows) for group in done.groups] == [2, 2]
    assert len({group.terms for group in done.groups}) == 2
    assert "Not shown, because they do not verify: " in page.read_text()
    assert os.listdir(tmp_path / "pages") == ["page.html"]
