import json
import logging
import socket
import time

import datasets
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.data.contamination import content_hash
from fdiv_gym.testing import check_environment
from fdiv_gym_math.corpora import loading


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sums(start, count, prompt="problem", answer="answer"):
    return [{prompt: f"What is {i} plus {i + 1}?", answer: str(2 * i + 1)} for i in range(start, start + count)]


def gsm8k(start, count):
    return [
        {
            "question": f"Ann has {i} pens and buys {i}. How many?",
            "answer": f"{i}+{i}=<<{i}+{i}={2 * i}>>\n#### {2 * i}",
        }
        for i in range(start, start + count)
    ]


@pytest.fixture
def gsm8k_folder(tmp_path):
    folder = tmp_path / "gsm8k"
    for split, rows in (("train", gsm8k(600, 8)), ("test", gsm8k(900, 4))):
        path = folder / "main" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    return folder


def test_gsm8k_from_a_folder_like_the_hubs(gsm8k_folder):
    env = fg.make("math/GSM8K-v0", source=str(gsm8k_folder))
    train, heldout = env.task_list("train"), env.task_list("heldout")
    assert [t.answer for t in train] == [str(2 * i) for i in range(600, 608)]
    assert [t.answer for t in heldout] == [str(2 * i) for i in range(900, 904)]
    assert "Ann has 600 pens" in train[0].prompt
    assert "\\boxed{}" in train[0].prompt
    check_env(env, skip_render_check=True)
    verdicts = env.score_batch([train[0]] * 4, ["\\boxed{1200}", "\\boxed{1,200}", "1200", "\\boxed{1201}"])
    assert [v.score for v in verdicts] == [1.0, 1.0, 0.0, 0.0]
    assert env.reference_response(train[0]) == "\\boxed{1200}"
    assert env.vote(train[0], "It is \\boxed{12 00}.") == "1200"
    env.close()


def test_the_data_folder_is_searched_first(gsm8k_folder, tmp_path, monkeypatch):
    gsm8k_folder.rename(tmp_path / "GSM8K")
    monkeypatch.setenv("FDIV_GYM_DATA", str(tmp_path))
    assert len(fg.make("math/GSM8K-v0").task_list("train")) == 8


def test_math_takes_the_last_box_of_the_solution(tmp_path):
    for subject in ("algebra", "geometry"):
        rows = [
            {"problem": f"{subject} {k}?", "solution": f"\\boxed{{0}} is wrong, \\boxed{{\\frac{{{k}}}{{7}}}}."}
            for k in (1, 2)
        ]
        write_jsonl(tmp_path / subject / "train-00000-of-00001.jsonl", rows)
        write_jsonl(tmp_path / subject / "test-00000-of-00001.jsonl", [{**rows[0], "problem": f"{subject} test?"}])
    env = fg.make("math/MATH-v0", source=str(tmp_path))
    assert [t.answer for t in env.task_list("train")] == ["\\frac{1}{7}", "\\frac{2}{7}"] * 2
    assert len(env.task_list("heldout")) == 2
    assert len(fg.make("math/MATH-v0", source=str(tmp_path), subset="algebra").task_list("train")) == 2


@pytest.mark.parametrize(
    ("name", "file", "prompt", "answer"),
    [
        ("MATH500", "test.jsonl", "problem", "5"),
        ("AMC23", "test-00000-of-00001.jsonl", "question", 5.0),
        ("AIME24", "data/train-00000-of-00001.jsonl", "problem", "005"),
        ("AIME25", "test.jsonl", "problem", 5),
    ],
)
def test_benchmarks_are_for_evaluation_only(tmp_path, name, file, prompt, answer):
    write_jsonl(tmp_path / file, [{prompt: f"Problem {k}?", "answer": answer} for k in range(3)])
    env = fg.make(f"math/{name}-v0", source=str(tmp_path))
    check_env(env, skip_render_check=True)
    tasks = env.task_list("heldout")
    assert len(tasks) == 3
    assert env.score(tasks[0], "\\boxed{5}").score == 1.0
    with pytest.raises(fg.EnvError, match="for evaluation only"):
        env.task_list("train")
    one_file = fg.make(f"math/{name}-v0", source=str(tmp_path / file))
    assert [t.hash for t in one_file.task_list("heldout")] == [t.hash for t in tasks]
    env.close()


@pytest.mark.parametrize(("name", "prompt"), [("LIMR", "prompt"), ("OpenRS", "problem")])
def test_a_share_of_training_sets_is_held_out(tmp_path, name, prompt):
    write_jsonl(tmp_path / "train.jsonl", sums(0, 200, prompt=prompt))
    env = fg.make(f"math/{name}-v0", source=str(tmp_path))
    train, heldout = env.task_list("train"), env.task_list("heldout")
    assert len(train) + len(heldout) == 200
    assert 8 <= len(heldout) <= 36
    assert not {t.hash for t in train} & {t.hash for t in heldout}
    bigger = fg.make(f"math/{name}-v0", source=str(tmp_path), heldout_fraction=0.5)
    assert {t.hash for t in heldout} < {t.hash for t in bigger.task_list("heldout")}


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_any_columns_of_any_file(tmp_path, suffix):
    table = datasets.Dataset.from_list([{"q": f"{i}?", "meta": {"gold": str(i)}} for i in range(100, 130)])
    path = tmp_path / f"mine.{suffix}"
    if suffix == "csv":
        table = table.map(lambda row: {"gold": row["meta"]["gold"]}).remove_columns("meta")
    getattr(table, f"to_{suffix.replace('jsonl', 'json')}")(str(path))
    env = fg.make(
        "math/Dataset-v0", source=str(path), prompt_column="q",
        answer_column="gold" if suffix == "csv" else "meta.gold", template="{problem} {x}",
    )  # fmt: skip
    tasks = [*env.task_list("train"), *env.task_list("heldout")]
    assert sorted(t.answer for t in tasks) == [str(i) for i in range(100, 130)]
    assert all(t.prompt == f"{t.answer}? {{x}}" for t in tasks)


def test_chat_messages_as_prompts(tmp_path):
    rows = [
        {"problem": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}], "answer": "4"}
    ]
    env = fg.make("math/Dataset-v0", source=str(write_jsonl(tmp_path / "a.jsonl", rows)), train_split="")
    assert env.task_list("heldout")[0].prompt.startswith("2+2?\n")


def test_contaminated_training_problems_are_reported_and_left_out(tmp_path, caplog):
    write_jsonl(tmp_path / "train.jsonl", [*sums(0, 10), {"problem": "WHAT is  3 plus 4", "answer": "7"}])
    write_jsonl(tmp_path / "test.jsonl", sums(3, 2))
    env = fg.make("math/Dataset-v0", source=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        train = env.task_list("train")
    assert [t.answer for t in train] == [str(2 * i + 1) for i in range(10) if i not in (3, 4)]
    assert str(env.contamination) == "2 of 10 training tasks are also among the 2 evaluation tasks"
    assert env.contamination.shared == (content_hash("What is 3 plus 4?"), content_hash("What is 4 plus 5?"))
    assert "left out of training" in caplog.text


def test_problems_of_other_sets_can_be_excluded(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "mine" / "train.jsonl", sums(0, 10))
    write_jsonl(tmp_path / "mine" / "test.jsonl", sums(50, 2))
    write_jsonl(tmp_path / "MATH500" / "test.jsonl", sums(1, 2))
    other = write_jsonl(tmp_path / "other.jsonl", sums(5, 1))
    monkeypatch.setenv("FDIV_GYM_DATA", str(tmp_path))
    env = fg.make("math/Dataset-v0", source=str(tmp_path / "mine"), exclude=("math/MATH500-v0", str(other)))
    assert [t.answer for t in env.task_list("train")] == [str(2 * i + 1) for i in (0, 3, 4, 6, 7, 8, 9)]


def test_signs_make_different_problems():
    assert content_hash("1+2 = ?") != content_hash("1-2 = ?")
    assert content_hash("Find  X.") == content_hash("find x")


def test_rows_without_an_answer_are_left_out(tmp_path, caplog):
    write_jsonl(tmp_path / "a.jsonl", [{"problem": "1?", "answer": "1"}, {"problem": "2?", "answer": None}])
    env = fg.make("math/Dataset-v0", source=str(tmp_path / "a.jsonl"), train_split="")
    with caplog.at_level(logging.WARNING):
        assert len(env.task_list("heldout")) == 1
    assert "1 rows" in caplog.text


def test_errors_contain_the_remedy(tmp_path):
    with pytest.raises(fg.EnvError, match=r"needs env\.source"):
        fg.make("math/Dataset-v0").reset()
    with pytest.raises(fg.EnvError, match="no file or folder"):
        fg.make("math/Dataset-v0", source="nowhere.jsonl").reset()
    path = write_jsonl(tmp_path / "dev.jsonl", sums(0, 3))
    write_jsonl(tmp_path / "extra.jsonl", sums(0, 3))
    with pytest.raises(fg.EnvError, match=r"no file of split 'train'.*dev\.jsonl"):
        fg.make("math/Dataset-v0", source=str(tmp_path)).task_list("train")
    with pytest.raises(fg.EnvError, match=r"line 1: there is no column 'gold' \(known: answer, problem\)"):
        fg.make("math/Dataset-v0", source=str(path), answer_column="gold").reset()
    path.write_text('{"problem": 1')
    with pytest.raises(fg.EnvError, match="line 1 is not JSON"):
        fg.make("math/Dataset-v0", source=str(path)).reset()
    with pytest.raises(fg.ConfigError, match=r"must contain \{problem\}"):
        fg.make("math/Dataset-v0", template="nothing")


@pytest.mark.parametrize("name", ["GSM8K", "MATH", "MATH500", "AMC23", "AIME24", "AIME25", "LIMR", "OpenRS"])
def test_offline_the_error_names_the_files_to_fetch(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    env = fg.make(f"math/{name}-v0")
    begun = time.monotonic()
    with pytest.raises(fg.EnvError) as caught:
        env.reset()
    assert time.monotonic() - begun < 2
    text = str(caught.value)
    assert f"https://huggingface.co/datasets/{env.options.source}" in text
    assert f"$FDIV_GYM_DATA/{name}/" in text


def test_a_hub_that_does_not_answer_counts_as_unreachable(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(loading, "PROBE_TIMEOUT_S", 0.3)
        begun = time.monotonic()
        assert not loading.hub_is_reachable()
        assert time.monotonic() - begun < 2


def test_options_of_a_preset_can_be_set_and_are_kept_in_the_configuration(tmp_path):
    from fdiv_gym.runs.config import parse_config

    config = parse_config({"env": {"id": "math/GSM8K-v0", "source": str(tmp_path), "prompt_column": "q"}})
    assert config.resolved()["env"]["source"] == str(tmp_path)
    assert config.resolved()["env"]["subset"] == "main"
    assert parse_config(config.resolved()) == config


def test_an_expression_copied_from_the_question_scores_0(tmp_path):
    rows = [
        ("Compute $2^{10}$.", "1024", r"2^{10}", r"1024"),
        ("What is $5!$?", "120", r"5 !", r"120"),
        (r"Find $\log_{2} 8$.", "3", r"\log_{2}8", r"3"),
        (r"Evaluate $\sqrt{144}$ in cm.", r"12\text{ cm}", r"\sqrt{144}\text{ cm}", r"12"),
        (r"Simplify $\sqrt{8}$.", r"2\sqrt{2}", r"\sqrt{9}", r"2\sqrt2"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "(x+1)^{2}", "1+2x+x^2"),
        ("If $x=7$, what is $x$?", "7", r"x=8", r"x=7"),
        ("Write 3 as it is; 50% of 6 is it.", "3", "4", "3"),
    ]
    file = write_jsonl(tmp_path / "p.jsonl", [{"problem": problem, "answer": gold} for problem, gold, _, _ in rows])
    with_echo = fg.make("math/Dataset-v0", source=str(file or tmp_path / "p.jsonl"), train_split="", heldout_split="p")
    tasks = with_echo.task_list("heldout")
    assert len(tasks) == len(rows)
    echoes = [f"\\boxed{{{echo}}}" for _, _, echo, _ in rows]
    rights = [f"\\boxed{{{right}}}" for _, _, _, right in rows]
    assert [v.score for v in with_echo.score_batch(tasks, echoes)] == [0.0] * len(rows)
    assert [v.score for v in with_echo.score_batch(tasks, rights)] == [1.0] * len(rows)
    assert with_echo.score(tasks[0], echoes[0]).detail == "the answer repeats the question"
    with_echo.close()


def test_a_reference_that_does_not_parse_fails_no_check(tmp_path):
    """It is listed; its reference response has no score, as every other response to it."""
    for name in ("train", "test"):
        rows = [{"problem": f"{name} {i}", "answer": "x^2+" if i % 2 else str(i)} for i in range(8)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    report = check_environment(fg.make("math/Dataset-v0", source=str(tmp_path)))
    assert report.ok, report
    assert any("x^2+" in note for note in report.notes)
