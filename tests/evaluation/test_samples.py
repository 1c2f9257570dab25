"""Risk: a record lacks a key or has the wrong position, or a damaged one counts as complete."""

import json
from typing import ClassVar

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation import is_sample, mean_metrics, play_tasks, sample_records, task_of
from fdiv_gym.models import ChatEncoder
from fdiv_gym.types import Sampling

KEYS = [
    "step", "split", "mode", "index", "sample", "task_hash", "prompt", "answer", "data", "response", "transcript",
    "truncated", "vote", "tokens", "turns", "environment_tokens", "logprob", "stop_reason", "verdict",
]  # fmt: skip


class Half(fg.TextEnv):
    """Scores half a point for any response that is not ``?``."""

    def tasks(self, split):
        return [fg.Task(f"task {i}", str(i), {"i": i}) for i in range(5)]

    def score(self, task, response):
        return fg.Verdict.unscorable("asked back") if response == "?" else fg.Verdict.scored(0.5)

    def metrics(self, samples):
        return {"seen": float(len(samples))}


class Letters:
    """A tokenizer of one token a character."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]


class Repeats(fg.Engine):
    """Answers with the last word of the prompt, and records its arguments."""

    asked: ClassVar[list[Sampling]] = []

    def generate(self, prompts, n, sampling):
        Repeats.asked = [*Repeats.asked, sampling]
        texts = ["".join(map(chr, prompt)).split()[-1] for prompt in prompts]
        return [[fg.Completion((1, 0), (-0.5, -0.25), text, "eos")] * n for text in texts]


def groups_of(*texts):
    """One group for each task, each with these responses."""
    trajectories = tuple(
        fg.Trajectory((7, 8), (0.0, -1.0), (False, True), text, "eos", Half().score(None, text)) for text in texts
    )
    return [fg.TrajectoryGroup(task, trajectories) for task in Half().tasks("heldout")[:2]]


def record(**changes):
    (first, *_) = sample_records(Half(), groups_of("a"), [3, 4], split="heldout", mode="sampled")
    return first | changes


def test_every_key_is_present_with_the_position_of_the_response():
    records = list(sample_records(Half(), groups_of("a", "?"), [3, 7], split="train", mode="sampled", step=2))
    assert [list(r) for r in records] == [KEYS] * 4
    assert [(r["index"], r["sample"]) for r in records] == [(3, 0), (3, 1), (7, 0), (7, 1)]
    assert {(r["step"], r["split"], r["mode"]) for r in records} == {(2, "train", "sampled")}
    assert record()["step"] is None
    assert record() == {
        **record(), "prompt": "task 0", "answer": "0", "data": {"i": 0}, "response": "a", "vote": "a", "tokens": 1,
        "turns": 1, "logprob": -1.0, "stop_reason": "eos", "verdict": fg.Verdict.scored(0.5).to_dict(),
        "truncated": False, "environment_tokens": 0, "transcript": {
            "messages": [{"role": "user", "content": "task 0"}, {"role": "assistant", "content": "a"}],
            "opening": 1, "rewards": [], "outcome": {}, "end": "done", "cut_off": False,
        },
    }  # fmt: skip


def test_a_record_read_back_is_a_sample_and_gives_its_task():
    read = json.loads(json.dumps(record()))
    assert is_sample(read)
    assert task_of(read) == Half().tasks("heldout")[0]
    assert task_of(read | {"answer": "1"}) is None


def test_records_with_optional_values_are_samples():
    assert is_sample(record(step=3, answer=None, vote=None, logprob=None))
    assert is_sample(record(more="of a later version"))


@pytest.mark.parametrize("key", KEYS)
def test_a_record_without_a_key_or_with_a_wrong_value_is_no_sample(key):
    assert not is_sample({k: v for k, v in record().items() if k != key})
    assert not is_sample(record(**{key: [1]}))


@pytest.mark.parametrize("verdict", [{}, {"score": 1.0}, {"score": None, "status": "scored"}, {"score": "x"}])
def test_a_record_with_an_incomplete_verdict_is_no_sample(verdict):
    assert not is_sample(record(verdict=verdict))


@pytest.mark.parametrize("line", [None, 3, "text", [1], {}])
def test_other_json_is_no_sample(line):
    assert not is_sample(line)


def played(indices, **settings):
    Repeats.asked = []
    env = Half()
    encoder = ChatEncoder(Letters(), "auto")
    return play_tasks(env, Repeats(), encoder, env.task_list("heldout"), indices, 2, 11, split="heldout", **settings)


def test_the_runner_runs_the_given_tasks_at_their_positions():
    result = played(range(1, 5, 2), step=6)
    assert [group.task.prompt for group in result.groups] == ["task 1", "task 3"]
    assert [(r["index"], r["sample"], r["response"]) for r in result.samples] == [
        (1, 0, "1"), (1, 1, "1"), (3, 0, "3"), (3, 1, "3"),
    ]  # fmt: skip
    assert {r["step"] for r in result.samples} == {6}
    (sampling,) = Repeats.asked
    assert (sampling.seed, sampling.temperature) == (11, 1.0)


def test_greedy_is_passed_to_the_engine_and_recorded():
    assert {r["mode"] for r in played([0], mode="greedy").samples} == {"greedy"}
    assert Repeats.asked[0].temperature == 0.0


def test_a_process_without_tasks_generates_nothing():
    result = played(range(5, 5))
    assert (result.groups, result.samples, Repeats.asked) == ([], [], [])


def test_means_of_both_modes_and_the_environments_own():
    sampled = [record(tokens=4), record(tokens=2, verdict=fg.Verdict.unscorable("?").to_dict())]
    greedy = [record(mode="greedy", tokens=3, verdict=fg.Verdict.scored(1.0).to_dict())]
    metrics = mean_metrics(Half(), [*sampled, *greedy])
    assert metrics == {
        "score/sampled": 0.5, "score/greedy": 1.0, "unscored": pytest.approx(1 / 3), "response_tokens": 3.0,
        "env/seen": 2.0,
    }  # fmt: skip
    assert mean_metrics(Half(), greedy) == {
        "score/greedy": 1.0, "unscored": 0.0, "response_tokens": 3.0, "env/seen": 1.0,
    }  # fmt: skip
    nothing = mean_metrics(Half(), sampled[1:])
    assert nothing["score/sampled"] != nothing["score/sampled"]
