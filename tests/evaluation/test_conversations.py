"""Conversations in samples.jsonl, in rescore and in the metrics: values computed by hand from scripted responses."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import ClassVar

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.conversations import conversation_lines
from fdiv_gym.cli.main import app
from fdiv_gym.data.contamination import find_contamination
from fdiv_gym.evaluation import Plan, configure, evaluate, is_sample, mean_metrics, rescore, task_of
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar
from fdiv_gym.rollouts import episode_metrics
from fdiv_gym.runs import RunFolder
from fdiv_gym_accelerate.metrics import episode_line
from fdiv_gym_accelerate.scoring_events import _content


class Again(fg.ConversationEnv):
    """Task i asks for the text i, twice; a wrong answer costs half a point. ``boom`` makes the episode fail."""

    class Options(fg.ConversationEnv.Options):
        right: str = "{}"

    default_turns = 2
    score_range: ClassVar = (-2.0, 1.0)

    def tasks(self, split):
        return [fg.Task((fg.Message("system", "Obey."), fg.Message("user", f"say {i}")), str(i)) for i in range(2)]

    def begin(self, task):
        return _Asked(task)

    def score(self, task, transcript):
        said = transcript.response == self.options.right.format(task.answer)
        return fg.Verdict.scored(float(said and transcript.outcome["tries"] <= 2))


class _Asked(fg.Episode):
    def __init__(self, task):
        self.task, self.tries, self.solved = task, 0, False

    def reply(self, response):
        self.tries += 1
        self.solved = response == self.task.answer
        if response == "boom":
            raise RuntimeError("the tool is broken")
        return None if self.solved else fg.Reply(" again ", reward=-0.5)

    def outcome(self):
        return {"tries": self.tries, "solved": self.solved, "note": "text", "parts": [1]}


class Letters:
    """A tokenizer of one token a character."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]


class Scripted(fg.Engine):
    """The four responses to task i are i; no, i; cut (at the length limit), ?; boom."""

    def load(self, model, env=None):
        return Letters()

    def generate(self, prompts, n, sampling):
        return [[said(text) for text in self.answers("".join(map(chr, prompt)), n)] for prompt in prompts]

    def answers(self, prompt, n):
        number = prompt.partition("say ")[2][0]
        if "again" not in prompt:
            return [number, "no", "cut", "boom"][:n]
        return [number if "no" in prompt else "?"]

    def close(self):
        pass


def said(text):
    end = () if text == "cut" else (0,)
    tokens = (*map(ord, text), *end)
    return fg.Completion(tokens, (-0.5,) * len(tokens), text, "eos" if end else "length")


class Suffix(fg.Verifier):
    """Right if the response ends with the reference."""

    def verify(self, reference, response):
        return fg.Verdict.scored(float(response.endswith(reference)))


class Echo(fg.TextEnv):
    """The same tasks, judged on one response."""

    def tasks(self, split):
        return Again().tasks(split)

    def score(self, task, response):
        assert isinstance(response, str)
        return fg.Verdict.scored(float(response == "?"))


@pytest.fixture(autouse=True)
def plugins():
    with discovery.registry.scoped() as registry:
        registrar = Registrar(registry, "test:conversations")
        registrar.add("environment", "test/Again-v0", Again)
        registrar.add("environment", "test/OneTurn-v0", Echo)
        registrar.add("engine", "scripted", Scripted)
        registrar.add("verifier", "suffix", Suffix)
        yield


def played(folder, *overrides, env="test/Again-v0"):
    config, trained_on = configure("some/model", env, None, ["engine.name=scripted", *overrides])
    return evaluate(Plan(config, samples=4, batch=2, trained_on=trained_on), folder)


def lines_of(folder):
    return RunFolder(folder).lines("samples.jsonl")


def scores(verdicts):
    return [verdict["score"] for verdict in verdicts][:4]


AS_PLAYED = [1.0, 1.0, 0.0, None]


def test_a_sample_keeps_the_whole_conversation(tmp_path):
    played(tmp_path / "e")
    first, second, third, failed = lines_of(tmp_path / "e")[:4]
    begin = [{"role": "system", "content": "Obey."}, {"role": "user", "content": "say 0"}]
    again = {"role": "user", "content": " again "}
    assert first["prompt"] == begin
    assert (first["response"], first["turns"], first["truncated"]) == ("0", 1, False)
    assert second["transcript"] == {
        "messages": [
            *begin, {"role": "assistant", "content": "no"}, again, {"role": "assistant", "content": "0"},
        ],
        "opening": 2, "rewards": [-0.5, 0.0], "end": "done", "cut_off": False,
        "outcome": {"tries": 2, "solved": True, "note": "text", "parts": [1]},
    }  # fmt: skip
    assert (third["transcript"]["end"], third["truncated"], third["response"]) == ("turns", True, "?")
    assert third["transcript"]["messages"][-1] == again  # said to the last response, and never answered
    assert (failed["transcript"]["end"], failed["truncated"], failed["verdict"]["status"]) == ("failed", False, "error")
    # no, 0 and their end tokens; cut has none. " again " has seven letters.
    assert [(r["tokens"], r["environment_tokens"]) for r in (first, second, third)] == [(2, 0), (5, 7), (5, 7)]
    assert all(is_sample(json.loads(json.dumps(line))) for line in lines_of(tmp_path / "e"))
    assert task_of(second) == Again().tasks("heldout")[0]
    assert [r["vote"] for r in (first, second, third)] == ["0", "0", "?"]  # of the last response


def changed(record, path, value):
    copy = json.loads(json.dumps(record))
    *where, last = path.split("/")
    place = copy
    for key in where:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    return copy


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("transcript/messages", "text"), ("transcript/messages", [1]), ("transcript/messages", [{"role": "user"}]),
        ("transcript/messages/0/role", "developer"), ("transcript/messages/0/role", ["user"]),
        ("transcript/messages/0/content", 3), ("transcript/opening", -1), ("transcript/opening", 6),
        ("transcript/opening", True), ("transcript/opening", HUGE), ("transcript/opening", "2"),
        ("transcript/rewards", [0.0] * 3), ("transcript/rewards", [HUGE]), ("transcript/rewards", [float("nan")]),
        ("transcript/rewards", ["1"]), ("transcript/rewards", {}), ("transcript/end", "lost"), ("transcript/end", []),
        ("transcript/cut_off", 1), ("transcript/outcome", []), ("prompt/0/role", "boss"), ("prompt/0/content", None),
        ("prompt", {}), ("response", "1"), ("turns", 1), ("turns", True), ("turns", HUGE), ("truncated", True),
        ("truncated", 0), ("environment_tokens", 0.5), ("environment_tokens", True), ("logprob", float("inf")),
        ("tokens", HUGE), ("sample", False),
    ],
)  # fmt: skip
def test_a_damaged_line_is_no_sample(tmp_path, path, value):
    record = json.loads(json.dumps(RECORD))
    assert is_sample(record)
    assert not is_sample(changed(record, path, value))


RECORD = {
    "step": None, "split": "heldout", "mode": "sampled", "index": 0, "sample": 1, "answer": "0", "data": {},
    "task_hash": "x", "prompt": [{"role": "system", "content": "Obey."}, {"role": "user", "content": "say 0"}],
    "response": "0", "turns": 2, "truncated": False, "vote": "0", "tokens": 5, "environment_tokens": 7,
    "logprob": -1.0, "stop_reason": "eos", "verdict": {"score": 1.0, "status": "scored"},
    "transcript": {
        "messages": [
            {"role": "user", "content": "say 0"}, {"role": "assistant", "content": "no"},
            {"role": "user", "content": " again "}, {"role": "assistant", "content": "0"},
        ],
        "opening": 1, "rewards": [-0.5, 0.0], "outcome": {"tries": 2}, "end": "done", "cut_off": False,
    },
}  # fmt: skip


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": []}, {"prompt": [{"role": "assistant", "content": "x"}]}, {"prompt": [{"role": "boss"}]},
        {"data": {"x": float("nan")}}, {"data": {"x": object}}, {"data": {"x": nested(100_000)}}, {"answer": 3},
        {"prompt": 3}, {"task_hash": "another"}, {"prompt": "system: Obey.\n\nuser: say 0"},
    ],
)  # fmt: skip
def test_a_record_without_its_task_gives_none(changes):
    task = Again().tasks("heldout")[0]
    record = RECORD | {"task_hash": task.hash}
    assert task_of(record) == task
    assert task_of(record | changes) is None


def test_conversations_are_judged_again_on_their_transcripts(tmp_path):
    played(tmp_path / "e")
    done = rescore(tmp_path / "e")
    assert done.refused == {"whose episode failed before its end": 2}
    assert done.disagreements() == []
    assert [v.score for v in done.verdicts] == AS_PLAYED[:3] * 2
    other = rescore(tmp_path / "e", options={"right": "?"})
    assert [v.score for v in other.verdicts][:3] == [0.0, 0.0, 1.0]
    assert other.disagreements()[1]["transcript"]["messages"][2]["content"] == "no"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"returns": "sum"}, [1.0, 0.5, -1.0]),
        ({"returns": "discounted", "discount": 0.5}, [1.0, 0.0, -0.75]),
        ({"score_truncated": "mask"}, [1.0, 1.0, 0.0]),
        ({"returns": "sum", "score_truncated": "zero"}, [1.0, 0.5, 0.0]),
        # The tokens are 2, 5 and 5: a third of the way, and the whole way.
        ({"length_penalty": {"start": 1, "end": 4, "penalty": 0.3}}, [0.9, 0.7, -0.3]),
    ],
)
def test_returns_truncation_and_length_count_as_in_a_run(tmp_path, options, expected):
    played(tmp_path / "e")
    again = rescore(tmp_path / "e", options=options).verdicts[:3]
    assert [v.score for v in again] == pytest.approx(expected)
    given = [f"env.{key}={json.dumps(value)}" for key, value in options.items() if not isinstance(value, dict)]
    given += [f"env.{k}.{n}={v}" for k, table in options.items() if isinstance(table, dict) for n, v in table.items()]
    played(tmp_path / "fresh", *given)
    assert scores([line["verdict"] for line in lines_of(tmp_path / "fresh")])[:3] == pytest.approx(expected)
    assert rescore(tmp_path / "fresh").disagreements() == []


def test_a_sample_that_was_drawn_to_train_on_is_masked_again(tmp_path):
    folder = played(tmp_path / "e").folder
    lines = lines_of(folder)
    train, heldout = {"step": 1, "split": "train"}, {"step": 1, "split": "heldout"}
    kinds = [{"split": "train"}, heldout, heldout, {}, train, train, train, {}]
    written = [json.dumps(line | kind) + "\n" for line, kind in zip(lines, kinds, strict=True)]
    (folder / "samples.jsonl").write_text("".join(written))
    again = rescore(folder, options={"score_truncated": "mask"}).verdicts
    assert [verdict.score for verdict in again] == [1.0, 1.0, 0.0, 1.0, 1.0, None]


def test_a_verifier_and_an_environment_of_one_turn_judge_the_last_response(tmp_path):
    played(tmp_path / "e")
    assert [v.score for v in rescore(tmp_path / "e", "suffix").verdicts[:3]] == [1.0, 1.0, 0.0]
    assert [v.score for v in rescore(tmp_path / "e", "test/OneTurn-v0").verdicts[:3]] == [0.0, 0.0, 1.0]


def test_what_was_not_said_is_not_judged(tmp_path):
    folder = played(tmp_path / "e").folder
    lines = lines_of(folder)
    lines[0] |= {"response": "", "turns": 0}
    lines[0]["transcript"]["messages"] = lines[0]["transcript"]["messages"][:2]
    lines[1]["transcript"]["messages"][0]["role"] = "boss"
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Counter(rescore(folder).refused) == {
        "whose episode failed before its end": 2, "without a response": 1, "whose line is damaged": 1,
    }  # fmt: skip


def test_the_command_shows_the_conversations_that_differ(tmp_path):
    played(tmp_path / "e")
    result = CliRunner().invoke(app, ["rescore", str(tmp_path / "e"), "--set", "right=?", "--diff"])
    assert result.exit_code == 0, result.output
    assert "\n> assistant: no\n  user:  again \n> assistant: 0\n" in result.stdout
    assert result.stdout.count("1 -> 0") == 4


def test_the_command_says_why_an_environment_gives_no_score(tmp_path):
    played(tmp_path / "e")
    result = CliRunner().invoke(app, ["rescore", str(tmp_path / "e"), "--with", "games/Nim-v0"])
    assert result.exit_code == 0, result.output
    assert "no score: 6 KeyError: 'seed' (in environment 'games/Nim-v0'" in result.stdout


def test_tokens_of_the_environment_are_counted_once():
    first = ((1, 2, 3), (7, 8), (4, 5), (9,))  # prompt, response, the environment, response
    second = ((1, 2, 3), (8, 4, 5, 6), (9, 0))  # what the row before begins with, other tokens, response
    sampled = [False, True, False, True, False, False, True]
    tokens = [token for part in (*first, *second) for token in part]
    mask = [flag for part, flag in zip((*first, *second), sampled, strict=True) for _ in part]
    made = fg.Trajectory(tuple(tokens), (0.0,) * len(tokens), tuple(mask), "x", "eos", row_starts=(0, 8))
    assert made.environment_tokens == 2 + 4
    assert fg.Trajectory((1, 2), (0.0, 0.0), (False, False), "", "eos").environment_tokens == 0
    assert fg.Trajectory((1, 2, 3), (0.0, -1.0, -1.0), (False, True, True), "x", "eos").environment_tokens == 0


def test_metrics_of_episodes_are_means_over_the_sampled_ones(tmp_path):
    done = played(tmp_path / "e")
    # Turns 1, 2, 2, 1; the third is truncated; the fourth failed. What is text or a list has no mean.
    assert done.results["episode_metrics"] == {
        "solved": 0.5, "tries": 1.5, "turns": 1.5, "truncated": 0.25, "environment_tokens": 3.5,
    }  # fmt: skip
    lines = lines_of(tmp_path / "e")
    greedy = [line | {"mode": "greedy"} for line in lines if line["sample"] == 1]
    assert mean_metrics(Again(), [*lines, *greedy])["episode/turns"] == 1.5
    assert mean_metrics(Again(), greedy)["episode/turns"] == 2.0
    served = [line | {"environment_tokens": None} for line in lines]
    assert "episode/environment_tokens" not in mean_metrics(Again(), served)
    assert [name for name in mean_metrics(Echo(), lines) if name.startswith("episode/")] == []


def test_an_outcome_takes_no_name_of_a_metric_and_no_strange_number():
    outcome = {"turns": 7, "truncated": 7, "environment_tokens": 7, "wins": True, "huge": HUGE, "nan": float("nan")}
    transcripts = [fg.Transcript((fg.Message("assistant", "a"),), 0, outcome=outcome), fg.Transcript((), 0)]
    assert episode_metrics(Again(), transcripts, [None, None]) == {
        "episode/wins": 1.0, "episode/turns": 0.5, "episode/truncated": 0.0,
    }  # fmt: skip
    assert episode_metrics(Again(), [], []) == {}


def test_the_trainers_line_counts_the_same():
    transcripts = [
        fg.Transcript((fg.Message("assistant", "a"),), 0, outcome={"calls": 3}, end="context"),
        fg.Transcript((fg.Message("assistant", "a"), fg.Message("assistant", "b")), 0, outcome={"calls": 2}),
    ]
    made = fg.Trajectory((1, 2, 3, 4), (0.0, -1.0, 0.0, -1.0), (False, True, False, True), "b", "eos")
    trajectories = tuple(dataclasses.replace(made, transcript=transcript) for transcript in transcripts)
    groups = [fg.TrajectoryGroup(fg.Task("t"), trajectories)]
    assert episode_line(Again(), groups) == {
        "episode/calls": 2.5, "episode/turns": 1.5, "episode/truncated": 0.5, "episode/environment_tokens": 1.0,
    }  # fmt: skip
    assert episode_line(Echo(), groups) == {}


def test_the_table_of_an_evaluation_shows_them(tmp_path):
    common = ["eval", "some/model", "--env", "test/Again-v0", "--set", "engine.name=scripted", "-n", "4"]
    result = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "e")])
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "turns of an episode │ 1.500" in shown
    assert "truncated episodes │ 0.250" in shown
    assert "solved (episodes) │ 0.500" in shown


def test_eval_prints_conversations(tmp_path):
    common = ["eval", "some/model", "--env", "test/Again-v0", "--set", "engine.name=scripted", "-n", "4"]
    result = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "e"), "--show", "1"])
    assert result.exit_code == 0, result.output
    shown = result.stdout.partition("task 0: score 1, turns 1\n")[2]
    assert shown == "  system: Obey.\n  user: say 0\n> assistant: 0\n  (ended)\n"
    refused = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "e"), "--show", "1", "--json"])
    assert refused.exit_code != 0


def test_lines_of_a_conversation_are_cut_and_the_cuts_counted():
    said = [fg.Message(role, str(i)) for i in range(25) for role in ("assistant", "user")]
    long = fg.Message("user", "one\ntwo" + "x" * 400)
    lines = list(conversation_lines(fg.Transcript((long, *said), 1, end="context", cut_off=True).to_dict()))
    assert lines[:4] == ["  user: one", "        two" + "x" * 393, "        ... 7 more characters", "> assistant: 0"]
    assert "  ... 11 more messages" in lines
    assert lines[-2:] == ["  user: 24", "  (no room in the context; the last response was cut off)"]
    assert len(lines) == 40 + 2 + 1 + 1  # messages, two more lines of the first, the cut and the end


def test_problems_are_compared_by_all_messages_of_their_prompts():
    def task(*texts):
        return fg.Task(tuple(fg.Message("user", text) for text in texts))

    assert find_contamination([task("1+1?")], [fg.Task("1 + 1 ?")]).shared == ()
    assert len(find_contamination([task("What is it?")], [fg.Task("what  is it")]).shared) == 1
    assert len(find_contamination([task("a", "b")], [task("A", "b.")]).shared) == 1
    assert find_contamination([task("a", "b")], [task("a", "c")]).shared == ()


def test_a_changed_message_of_a_prompt_is_noticed():
    task = Again().tasks("train")[0]
    before = _content(task)
    assert before == _content(Again().tasks("train")[0])
    object.__setattr__(task, "prompt", (*task.prompt[:-1], fg.Message("user", "say 9")))
    assert _content(task) != before
