"""Risk: a reference is changed, a row is lost, or the wrong file is read, without a message."""

import json
import logging

import pytest

import fdiv_gym as fg
from fdiv_gym.data.contamination import content_hash
from fdiv_gym_math.corpora.loading import text_of


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows(count, start=0):
    return [{"problem": f"What is {i} plus 1?", "answer": str(i + 1)} for i in range(start, start + count)]


def answers(source, **options):
    env = fg.make("math/Dataset-v0", source=source, train_split="", **options)
    return [task.answer for task in env.task_list("heldout")]


def test_numbers_are_kept_as_written(tmp_path):
    numbers = [2**100 + 1, 0.5, 5.0, -3, 12345678901234567]
    source = write(tmp_path / "a.jsonl", [{"problem": f"Number {i}?", "answer": n} for i, n in enumerate(numbers)])
    assert answers(source) == [str(2**100 + 1), "0.5", "5", "-3", "12345678901234567"]
    table = tmp_path / "a.csv"
    table.write_text("problem,answer\nfirst,12345678901234567\nsecond,\nthird,1e400\nfourth,None\nfifth,007\n")
    assert answers(str(table)) == ["12345678901234567", "1e400", "None", "007"]


def test_small_numbers_are_compared_as_numbers(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"problem": "Small?", "answer": 0.00001}])
    env = fg.make("math/Dataset-v0", source=source, train_split="")
    task = env.task_list("heldout")[0]
    assert env.score_batch([task] * 2, [r"\boxed{0.00001}", r"\boxed{0.0001}"])[0].score == 1.0
    assert env.score(task, r"\boxed{0.0001}").score == 0.0
    env.close()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"), (None, ""), (["5"], "5"), (2.0, "2"), (1e-05, "1e-05"),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "Q"),
        ([{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}], "Q"),
    ],
)  # fmt: skip
def test_cells_as_text(value, text):
    assert text_of(value, "here") == text


@pytest.mark.parametrize("value", [["1", "2"], [], {"v": 5}, [["5", "6"]], float("nan"), float("inf")])
def test_cells_that_are_no_text_are_refused(value):
    with pytest.raises(fg.EnvError, match=r"row 3: a text or a number was expected"):
        text_of(value, "row 3")


def test_rows_that_cannot_be_used_are_counted(tmp_path, caplog):
    bad = [{"problem": "", "answer": "1"}, {"problem": None, "answer": "1"}, {"problem": "?", "answer": None}]
    source = write(tmp_path / "a.jsonl", [*rows(3), *bad])
    with caplog.at_level(logging.WARNING):
        assert len(answers(source)) == 3
    assert "3 rows of heldout without an answer or a problem are left out" in caplog.text


def test_an_empty_record_on_the_way_is_an_empty_answer(tmp_path):
    nested = [{"problem": f"{i}?", "reward": {"truth": str(i)} if i else None} for i in range(3)]
    assert answers(write(tmp_path / "a.jsonl", nested), answer_column="reward.truth") == ["1", "2"]
    with pytest.raises(fg.EnvError, match=r"line 2: there is no column 'reward\.trut' \(did you mean 'truth'\?\)"):
        answers(write(tmp_path / "a.jsonl", nested), answer_column="reward.trut")


def test_different_problems_stay_and_repeated_ones_are_logged(tmp_path, caplog):
    problems = [
        "Compute 5!", "Compute 5", "Compute 1 - (2 - 3)", "Compute (1 - 2) - 3", "What is 1.5?", "What is 15?",
        "What is 1,5?", "Same", "Same",
    ]  # fmt: skip
    source = write(tmp_path / "a.jsonl", [{"problem": p, "answer": str(i)} for i, p in enumerate(problems)])
    with caplog.at_level(logging.WARNING):
        assert answers(source) == [str(i) for i in range(8)]
    assert "1 rows of heldout repeat a problem and are left out; 1 of them have another answer" in caplog.text
    assert content_hash("Well, what is 5?") == content_hash("well what is 5")
    assert content_hash("Stop! What is $x^{2}$.") == content_hash("stop what is x^{2}")


def test_a_share_of_a_folder_with_one_file_is_held_out(tmp_path):
    write(tmp_path / "d" / "train.jsonl", rows(60))
    env = fg.make("math/Dataset-v0", source=str(tmp_path / "d"))
    train, heldout = env.task_list("train"), env.task_list("heldout")
    assert len(train) + len(heldout) == 60
    assert 0 < len(heldout) < 20
    assert not {t.prompt for t in train} & {t.prompt for t in heldout}


def test_the_test_file_alone_is_never_trained_on(tmp_path):
    write(tmp_path / "d" / "test.jsonl", rows(10))
    env = fg.make("math/Dataset-v0", source=str(tmp_path / "d"))
    assert len(env.task_list("heldout")) == 10
    with pytest.raises(fg.EnvError, match=r"no file of split 'train'.*it has test\.jsonl"):
        env.task_list("train")


def test_a_misspelt_subset_is_not_replaced_by_everything(tmp_path):
    for subset in ("main", "socratic"):
        write(tmp_path / subset / "train.jsonl", rows(4))
        write(tmp_path / subset / "test.jsonl", rows(2, 50))
    with pytest.raises(fg.EnvError, match=r"no subset 'mian' \(did you mean 'main'\?\)"):
        fg.make("math/Dataset-v0", source=str(tmp_path), subset="mian").task_list("heldout")
    assert len(fg.make("math/Dataset-v0", source=str(tmp_path), subset="main").task_list("train")) == 4
    flat = fg.make("math/Dataset-v0", source=str(tmp_path / "main"), subset="main")  # a copy without that level
    assert len(flat.task_list("heldout")) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"{}", r"is not a file of a supported type: \.parquet, \.jsonl, \.json, \.csv"),
        ("p", b"{}", "is not a file of a supported type"),
        ("p.jsonl", b'{"problem": "caf\xe9", "answer": "1"}\n', "cannot be read: .*utf-8"),
        ("p.jsonl", b'{"problem": "a", "answer": "1"}\n{"problem": \n', r"line 2 is not JSON"),
        ("p.csv", b"problem,answer\na,1,2\n", "line 2: the row does not have the 2 cells"),
        ("p.parquet", b"nothing", r"p\.parquet cannot be read as parquet: \S"),
        ("p.json", b'{"problem', r"p\.json cannot be read as json: \S"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fg.FdivGymError, match=message):
        answers(str(tmp_path / name))


def test_errors_are_raised_when_tasks_are_listed(tmp_path):
    source = write(tmp_path / "a.jsonl", rows(3))
    with pytest.raises(fg.FdivGymError, match=r"unknown verifier 'mth'.*'math'"):
        answers(source, verifier="mth")
    with pytest.raises(fg.EnvError, match=r"there is no file or folder 'my/problms\.jsonl'"):
        answers("my/problms.jsonl")
    with pytest.raises(fg.EnvError, match=r"there is no file or folder 'nofile\.jsonl'"):
        fg.make("math/Dataset-v0", source=source, exclude=["nofile.jsonl"]).task_list("train")


def test_repeats_that_the_verifier_allows_are_checked_for_copies_and_vote(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"problem": "What is $2^{10}$?", "answer": r"$\boxed{1024}$"}])
    env = fg.make("math/Dataset-v0", source=source, train_split="")
    task = env.task_list("heldout")[0]
    assert env.score(task, r"\boxed{2^{10}} \boxed{2^{10}}").score == 0.0
    assert env.score(task, r"\boxed{1024} \boxed{1024}").score == 1.0
    assert env.vote(task, r"\boxed{5} \boxed{5}") == "5"
    assert env.score(task, env.reference_response(task)).score == 1.0
    env.close()


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (r"3 \text{ dozen}", 1.0),
        (r"3 \text{ dozen clay}", 1.0),
        (r"3 \text{ score}", 0.0),
        (r"3 \text{ not clay}", 0.0),
    ],
)
def test_nouns_of_the_question_are_labels(tmp_path, answer, score):
    problem = "Ann sells clay. How many dozen not yet?"
    source = write(tmp_path / "a.jsonl", [{"problem": problem, "answer": "3"}])
    env = fg.make("math/Dataset-v0", source=source, train_split="")
    task = env.task_list("heldout")[0]
    assert env.score(task, rf"\boxed{{{answer}}}").score == score
    assert env.score_batch([task], [rf"\boxed{{{answer}}}"])[0].score == score
    env.close()
