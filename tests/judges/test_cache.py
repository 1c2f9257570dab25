import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fdiv_gym as fg
from fdiv_gym.cache import cache_folder
from fdiv_gym.rewards.cache import VerdictCache
from fdiv_gym.rewards.judge import CachedJudge

VERDICT = fg.Verdict(0.25, components={"a": 1.0}, detail="why")


def test_scored_verdicts_come_back_and_others_are_not_kept(tmp_path):
    cache = VerdictCache(tmp_path)
    cache.put("abc", VERDICT)
    cache.put("abd", fg.Verdict.unscorable("later"))
    assert VerdictCache(tmp_path).get("abc") == VERDICT
    assert cache.get("abd") is None


def test_damaged_files_count_as_missing(tmp_path):
    cache = VerdictCache(tmp_path)
    cache.put("abc", VERDICT)
    file = next(tmp_path.rglob("*.json"))
    for text in ("", "{", "[]", '{"score": "x", "status": "scored"}', '{"score": null, "status": "scored"}'):
        file.write_text(text)
        assert cache.get("abc") is None
    cache.put("abc", VERDICT)
    assert cache.get("abc") == VERDICT


def test_a_folder_that_cannot_be_written_is_ignored(tmp_path):
    (tmp_path / "file").write_text("")
    VerdictCache(tmp_path / "file").put("abc", VERDICT)
    assert VerdictCache(tmp_path / "file").get("abc") is None


def test_concurrent_writers_leave_complete_files_only(tmp_path):
    def write(i):
        VerdictCache(tmp_path).put(f"{i % 3:03}", fg.Verdict(float(i), detail="x" * 5000))
        return VerdictCache(tmp_path).get(f"{i % 3:03}")

    with ThreadPoolExecutor(16) as pool:
        assert all(verdict is not None for verdict in pool.map(write, range(300)))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(json.loads(path.read_text())["detail"] == "x" * 5000 for path in files)


def test_keys_depend_on_content_only():
    assert VerdictCache.key({"a": 1, "b": 2}, "x") == VerdictCache.key({"b": 2, "a": 1}, "x")
    assert VerdictCache.key("a", "bc") != VerdictCache.key("ab", "c")
    assert len(VerdictCache.key("\ud800")) == 64


def test_the_environment_variable_sets_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FDIV_GYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "fdiv-gym"


class Counted(CachedJudge):
    """Gives 0.5 and counts its requests."""

    asked = 0

    async def judge_fresh(self, tasks, responses):
        self.asked += len(responses)
        return [fg.Verdict.scored(0.5) for _ in responses]


@pytest.mark.parametrize(
    "damage",
    [
        '{"score": 70, "status": "scored"}',
        '{"score": 0.1, "status": "scored", "components": {"a": "x"}}',
        '{"score": null, "status": "timeout"}',
        f'{{"score": {"9" * 400}, "status": "scored"}}',
        "[" * 100_000,
    ],
)
def test_an_impossible_cached_verdict_is_judged_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    Counted().judge_batch([fg.Task("p")], ["r"])
    next(tmp_path.rglob("*.json")).write_text(damage)
    judge = Counted()
    assert judge.judge_batch([fg.Task("p")], ["r"])[0].score == 0.5
    assert judge.asked == 1
    again = Counted()
    again.judge_batch([fg.Task("p")], ["r"])
    assert again.asked == 0  # the damaged file was replaced


def test_components_may_be_numbers_of_numpy(tmp_path):
    cache = VerdictCache(tmp_path)
    cache.put("abc", fg.Verdict.scored(0.5, a=np.float32(0.25)))
    assert cache.get("abc").components == {"a": 0.25}
