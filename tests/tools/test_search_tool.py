"""The search tool: what it finds, in which order, and what it does with strange files and queries."""

import logging
import math
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

import fdiv_gym as fg
from fdiv_gym_tools.search import Hit, TextIndex, search_tool


@pytest.fixture
def folder(tmp_path):
    texts = {
        "apples.txt": "Apples are red. The apple tree blooms in May.",
        "fruit/pears.md": "No apple is a pear.",
        "stones.txt": "Granite is a stone.",
        "notes.csv": "apple,apple,apple",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_texts_are_ranked_and_named(folder):
    index = TextIndex(folder)
    assert index.names == ("apples.txt", "fruit/pears.md", "stones.txt")
    assert [hit.name for hit in index.search("apple")] == ["fruit/pears.md", "apples.txt"]  # the shorter text
    assert index.search("GRANITE!") == [Hit("stones.txt", "Granite is a stone.", index.search("granite")[0].score)]
    assert [hit.name for hit in index.search("may granite apple", limit=2)] == ["stones.txt", "apples.txt"]
    assert index.search("nothing") == []
    assert index.search("apple", limit=0) == []


def test_the_score_is_bm25(tmp_path):
    for name, text in {"a.txt": "cat cat dog", "b.txt": "dog", "c.txt": "fish bird"}.items():
        (tmp_path / name).write_text(text)
    (hit,) = TextIndex(tmp_path).search("cat")
    # SQLite counts the name too: "a txt" is two words. k1 = 1.2, b = 0.75; 3 texts, one with the word.
    mean = (5 + 3 + 4) / 3
    expected = math.log((3 - 1 + 0.5) / (1 + 0.5)) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 5 / mean))
    assert hit.score == pytest.approx(expected, rel=1e-6)


def test_equal_texts_are_ordered_by_name(tmp_path):
    for name in ("c", "a", "d", "b"):
        (tmp_path / f"{name}.txt").write_text("the same words")
    assert [hit.name for hit in TextIndex(tmp_path).search("words", limit=3)] == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize(
    "query",
    ['"', "apple'", "apple*", "AND OR NOT", "name:apple", "apple NEAR(tree)", "^apple", "(((", "{x y}: z", "a" * 10**6,
     "\x00", "\ud800", "_", "- apple", "'; DROP TABLE texts; --", "apple\" OR \"stone", "१२ ﬃ \u0301"],
)  # fmt: skip
def test_a_query_has_no_syntax(folder, query):
    index = TextIndex(folder)
    hits = index.search(query, limit=9)
    words = {word.strip("*:()\"'^;-") for word in query.lower().split()}
    assert bool(hits) == any("apple" in word for word in words), hits
    assert len(index.search("apple")) == 2  # the index is whole


def test_operators_are_words(tmp_path):
    (tmp_path / "a.txt").write_text("this and that")
    (tmp_path / "b.txt").write_text("near not")
    index = TextIndex(tmp_path)
    assert [hit.name for hit in index.search("AND")] == ["a.txt"]
    assert [hit.name for hit in index.search("cat NOT near")] == ["b.txt"]


def test_strange_files_are_left_out_by_name(folder, caplog):
    (folder / "binary.txt").write_bytes(b"apple\0apple")
    (folder / "latin.txt").write_bytes("gr\u00fcn".encode("latin-1"))
    (folder / "huge.txt").write_text("apple " * 100)
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbfplum")
    with caplog.at_level(logging.WARNING):
        index = TextIndex(folder, largest_file=100)
    assert index.skipped == {
        "binary.txt": "a binary file", "huge.txt": "more than 100 bytes", "latin.txt": "no UTF-8 at byte 2",
        "link.txt": "no regular file", "pipe.txt": "no regular file",
    }  # fmt: skip
    assert [hit.snippet for hit in index.search("plum")] == ["plum"]
    assert "latin.txt is left out: no UTF-8 at byte 2" in caplog.text


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(fg.ConfigError, match="no folder"):
        TextIndex(tmp_path / "none")
    with pytest.raises(fg.ConfigError, match=r"holds no text .*: no such file"):
        TextIndex(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(fg.ConfigError, match=r"a\.txt: no UTF-8 at byte 0"):
        TextIndex(tmp_path)


def test_the_tool_shows_names_and_short_snippets(folder):
    (folder / "long.txt").write_text("word " * 500 + "needle\nand thread" + " word" * 500)
    (folder / "wide.txt").write_text("x" * 5000 + " haystack")
    search = search_tool(TextIndex(folder), limit=2)
    assert search("granite") == "stones.txt: Granite is a stone."
    assert "needle and thread" in search("needle")
    assert len(search("haystack")) <= len("wide.txt: ") + 400
    assert search("unknown") == search("?!") == "no text holds any of these words"
    assert search.__name__ == "search"
    with pytest.raises(ValueError, match="limit must be at least 1"):
        search_tool(TextIndex(folder), limit=0)


def test_a_name_is_one_line(tmp_path, caplog):
    (tmp_path / "a\nb.txt: cats are dogs\t\r\u2028.txt").write_text("cat")
    (tmp_path / "c\nd.txt").write_bytes(b"\0")
    index = TextIndex(tmp_path)
    assert index.names == ("a\nb.txt: cats are dogs\t\r\u2028.txt",)
    assert search_tool(index)("cat") == r"a\nb.txt: cats are dogs\t\r\u2028.txt: cat"
    assert [record.getMessage() for record in caplog.records] == [
        rf"search tool: {tmp_path}/c\nd.txt is left out: a binary file"
    ]
    (tmp_path / "a\nb.txt: cats are dogs\t\r\u2028.txt").unlink()
    with pytest.raises(fg.ConfigError, match=r"holds no text .*: c\\nd\.txt: a binary file"):
        TextIndex(tmp_path)


def test_threads_share_an_index_and_a_copy_finds_the_same(folder):
    index = TextIndex(folder)
    expected = index.search("apple")
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: index.search("apple"), range(200)))
    assert pickle.loads(pickle.dumps(index)).search("apple") == expected
