"""Which responses a judge may compare: the groups that were drawn, whatever scores them, and after a failure."""

import asyncio
import json
import pickle
from dataclasses import replace

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation import rescore
from fdiv_gym.evaluation.rescoring import BATCH
from fdiv_gym.evaluation.samples import sample_records
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.guard import verdicts_of
from fdiv_gym.rollouts import run_episodes
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.rollouts.text_episodes import run_text_episodes
from fdiv_gym.runs import RunFolder
from fdiv_gym.types import Completion, Sampling, TextCompletion, TextTrajectory, TrajectoryGroup, groups_of

LENGTH = {"name": "pairwise", "judge": {"name": "rule", "measure": "length", "max_characters": 10}}
TASK, OTHER = fg.Task("p"), fg.Task("q")


class Compared(fg.TextEnv):
    """Win rates of length in the groups; a response with ``!`` makes scoring fail, however many others there are."""

    def __init__(self, **options):
        super().__init__(**options)
        self.judge, self.batches = fg.get_judge(LENGTH), []

    def tasks(self, split):
        return [fg.Task(f"{split} {i}") for i in range(4)]

    def score_batch(self, tasks, responses):
        self.batches.append(list(responses))
        if any("!" in response for response in responses):
            raise ValueError("what is this?")
        return self.judge.judge_batch(tasks, responses)


def in_group(number, task=TASK):
    return replace(task, group=number)


def scores(verdicts):
    return [v.score for v in verdicts]


def test_the_group_is_no_part_of_the_content():
    numbered = in_group(3)
    assert numbered == TASK
    assert numbered.hash == TASK.hash
    assert repr(numbered) == repr(TASK)
    assert pickle.loads(pickle.dumps(numbered)).group == 3
    assert groups_of([in_group(0), OTHER, in_group(1), in_group(0), OTHER, TASK]) == [[0, 3], [1, 4], [2], [5]]


def test_the_same_task_twice_is_two_groups():
    tasks = [in_group(0), in_group(0), in_group(1), in_group(1), in_group(1)]
    verdicts = fg.get_judge(LENGTH).judge_batch(tasks, ["a", "bb", "ccc", "dddd", "ccc"])
    assert scores(verdicts) == [0.0, 1.0, 0.25, 1.0, 0.25]
    assert [v.components["comparisons"] for v in verdicts] == [1, 1, 2, 2, 2]
    ensemble = fg.get_judge("ensemble", judges=[LENGTH])
    assert scores(ensemble.judge_batch(tasks, ["a", "bb", "ccc", "dddd", "ccc"])) == scores(verdicts)


def test_the_default_comparison_gives_a_judge_of_groups_each_pair_alone():
    judge = fg.get_judge(LENGTH)
    found = asyncio.run(judge.compare([TASK, TASK, OTHER], ["a", "bbb", "c"], ["bb", "a", "c"]))
    assert scores(found) == [0.0, 1.0, 0.5]


class Characters:
    """A tokenizer whose tokens are code points."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(character) for character in text]


TEXTS = ["a", "bb", "ccc", "d"]


class Tokens(fg.Engine):
    """Says the texts in turn."""

    def generate(self, prompts, n, sampling):
        rows = iter(TEXTS * len(prompts))
        texts = [[next(rows) for _ in range(n)] for _ in prompts]
        return [[Completion((*map(ord, t), 0), (-0.5,) * (len(t) + 1), t, "eos") for t in row] for row in texts]


class Chats(TextEngine):
    """The same as texts."""

    def respond(self, chats, n, sampling):
        rows = iter(TEXTS * len(chats))
        return [[TextCompletion(next(rows), "eos", 1) for _ in range(n)] for _ in chats]


def test_the_runner_keeps_the_groups_of_a_task_that_is_drawn_twice_apart():
    sampling, tasks = Sampling(max_new_tokens=8, seed=0), [TASK, TASK]
    groups = run_episodes(Compared(), Tokens(), ChatEncoder(Characters()), tasks, 2, sampling)
    assert [list(g.rewards) for g in groups] == [[0.0, 1.0], [1.0, 0.0]]
    assert [g.task.group for g in groups] == [None, None]
    texts = run_text_episodes(Compared(), Chats(), tasks, 2, sampling)
    assert [scores(t.verdict for t in group) for group in texts] == [[0.0, 1.0], [1.0, 0.0]]
    (greedy,) = run_text_episodes(Compared(), Chats(), [TASK], 1, sampling)
    assert greedy[0].verdict.status is fg.Status.UNSCORABLE
    assert "a group of one" in greedy[0].verdict.detail


def test_a_response_that_makes_scoring_fail_leaves_its_group_and_no_other():
    env = Compared()
    tasks = [in_group(0), in_group(1), in_group(0), in_group(1), in_group(0)]
    verdicts = verdicts_of(env, tasks, ["a", "x", "b!", "yy", "cc"])
    assert scores(verdicts) == [0.0, 0.0, None, 1.0, 1.0]
    assert [v.status for v in verdicts].count(fg.Status.ERROR) == 1
    assert "what is this?" in verdicts[2].detail
    assert env.batches[1:] == [["a", "b!", "cc"], ["a"], ["b!"], ["cc"], ["a", "cc"], ["x", "yy"]]


def test_a_group_that_fails_only_together_is_not_asked_for_again_and_again():
    class Crowded(Compared):
        def score_batch(self, tasks, responses):
            self.batches.append(list(responses))
            if len(responses) > 1:
                raise ValueError("too many")
            return [fg.Verdict.scored(0.5)]

    env = Crowded()
    assert scores(verdicts_of(env, [TASK] * 3, ["a", "b", "c"])) == [0.5] * 3
    assert env.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]


@pytest.fixture
def saved(tmp_path):
    """A run folder whose samples are those of one task, drawn twice in step 1 and once in step 2, and many others."""
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("environment", "me/Compared-v0", Compared, "thirdparty:plugin"))
        folder = RunFolder.create(tmp_path / "run", {"env": {"id": "me/Compared-v0"}, "isolate": False})
        env = Compared()

        def write(step, index, texts, task=TASK):
            rated = [TextTrajectory(t, "eos", fg.Verdict.scored(0.5), 1, 1, None) for t in texts]
            group = TrajectoryGroup(task, tuple(rated))
            folder.append(
                "samples.jsonl", *sample_records(env, [group], [index], split="train", mode="sampled", step=step)
            )

        write(1, 0, ["a", "bb"])
        write(1, 1, ["ccc", "d"])
        write(2, 0, ["eeee", "f", "gg"])
        for index in range(BATCH // 2):
            write(3, index, ["a", "bb", "ccc"], fg.Task(f"task {index}"))
        yield folder


def test_rescore_puts_the_groups_of_the_run_together_again(saved):
    done = rescore(saved.path, "me/Compared-v0", {"isolate": False})
    assert scores(done.verdicts)[:7] == [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.5]
    assert scores(done.verdicts)[7:] == [0.0, 0.5, 1.0] * (BATCH // 2)
    lines = saved.lines("samples.jsonl")
    mixed = [lines[i] for i in (0, 2, 1, 3)]  # the groups need not lie together
    (saved.path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in mixed))
    again = rescore(saved.path, "me/Compared-v0", {"isolate": False})
    assert scores(again.verdicts) == [0.0, 1.0, 1.0, 0.0]
