"""A task that is drawn twice in a step makes two groups, for every judge that compares responses."""

import pickle

import fdiv_gym as fg
from fdiv_gym.evaluation import rescoring
from fdiv_gym.rollouts import run_episodes, run_text_episodes
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.types import Completion, Sampling, TextCompletion, Transcript, groups_of


class Lengths(fg.TextEnv):
    """The win rate of a response by its length, within its group."""

    score_range = (0.0, 1.0)

    def __init__(self, **options):
        super().__init__(**options)
        self.judge = fg.get_judge("pairwise", judge={"name": "rule", "measure": "length", "max_characters": 10})

    def score_batch(self, tasks, responses):
        return self.judge.judge_batch(tasks, responses)


TASK = fg.Task("say something", data={"a": 1})
#: Twice the same task with two responses each: lengths 1 and 2, then 3 and 4. In one group of four the win rates would
#: be 0, 1/3, 2/3 and 1.
SAID = ["a", "aa", "aaa", "aaaa"]


def test_the_group_is_no_content():
    first = TASK.in_group(3)
    assert (first, first.hash, first.group) == (TASK, TASK.hash, 3)
    assert TASK.group is None
    assert pickle.loads(pickle.dumps(first)).group == 3
    assert repr(first) == repr(TASK)


def test_groups_in_the_order_of_their_first_member():
    other = fg.Task("another")
    tasks = [TASK.in_group(1), other, TASK.in_group(0), TASK.in_group(1), other, TASK]
    assert groups_of(tasks) == [[0, 3], [1, 4], [2], [5]]
    assert groups_of([]) == []


class Encoder:
    shows_tools = declares_calls = False

    def prompt(self, messages, sampled, tools):
        return [1]


class Talker(fg.Engine):
    context_length = None

    def generate(self, prompts, n, sampling):
        texts = iter(SAID)
        return [[Completion((1, 0), (-0.5, -0.5), next(texts), "eos") for _ in range(n)] for _ in prompts]


class TextTalker(TextEngine):
    def respond(self, chats, n, sampling):
        texts = iter(SAID)
        return [[TextCompletion(next(texts), "eos", 1) for _ in range(n)] for _ in chats]


def test_a_task_twice_in_a_step_makes_two_groups():
    found = run_episodes(Lengths(), Talker(), Encoder(), [TASK, TASK], 2, Sampling(max_new_tokens=2, seed=0))
    assert [t.verdict.score for group in found for t in group.trajectories] == [0.0, 1.0, 0.0, 1.0]
    assert [group.task.group for group in found] == [None, None]
    texts = run_text_episodes(Lengths(), TextTalker(), [TASK, TASK], 2, Sampling(max_new_tokens=2, seed=0))
    assert [t.verdict.score for group in texts for t in group] == [0.0, 1.0, 0.0, 1.0]


def saved(index, response, step=1):
    line = {"step": step, "split": "train", "mode": "sampled", "index": index, "task_hash": TASK.hash}
    return rescoring._Saved({**line, "response": response}, TASK, Transcript((), 0))


def test_rescoring_keeps_the_groups_of_the_run(monkeypatch):
    samples = [saved(0, "a"), saved(0, "aa"), saved(1, "aaa"), saved(1, "aaaa"), saved(0, "b", 2), saved(0, "bb", 2)]
    (batch,) = rescoring._batches(samples)
    verdicts = Lengths().score_batch([one.task for one in batch], [one.line["response"] for one in batch])
    assert [v.score for v in verdicts] == [0.0, 1.0] * 3
    monkeypatch.setattr(rescoring, "BATCH", 3)
    assert [[one.line["response"] for one in batch] for batch in rescoring._batches(samples)] == [
        ["a", "aa", "aaa", "aaaa"], ["b", "bb"],
    ]  # fmt: skip
