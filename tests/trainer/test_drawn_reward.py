"""Two options for comparisons: a reward that is drawn, and evaluations that skip held-out tasks."""

from itertools import count

import numpy as np
import pytest
from conftest_trainer import tiny_config, train

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder
from fdiv_gym_accelerate.drawn_reward import with_drawn_rewards


def groups_of(scores):
    """Groups of one-token responses with these scores; None is a response without a score."""
    texts = count()

    def one(score):
        scored = score is not None
        verdict = fg.Verdict.scored(score, "", first=score, second=score) if scored else fg.Verdict.timeout("too slow")
        return fg.Trajectory((1, 2), (0.0, -1.0), (False, True), str(next(texts)), "eos", verdict)

    return [fg.TrajectoryGroup(fg.Task(f"task {g}", "a"), tuple(map(one, row))) for g, row in enumerate(scores)]


def rewards(groups):
    return [group.rewards for group in groups]


def test_the_draws_depend_on_the_place_and_not_on_the_responses():
    scores = np.random.default_rng(0).integers(0, 2, size=(50, 40)).astype(float)
    drawn = rewards(with_drawn_rewards(groups_of(scores), (0.0, 1.0), 3, 7, 0, 0))
    assert drawn == rewards(with_drawn_rewards(groups_of(1 - scores), (0.0, 1.0), 3, 7, 0, 0))
    for other in [(4, 7, 0, 0), (3, 8, 0, 0), (3, 7, 1, 0), (3, 7, 0, 1)]:
        assert drawn != rewards(with_drawn_rewards(groups_of(scores), (0.0, 1.0), *other))
    # Two values with equal probability; the correlation of 2000 independent pairs has a standard error of 0.022.
    assert set(np.ravel(drawn)) == {0.0, 1.0}
    assert abs(np.mean(drawn) - 0.5) < 0.05
    assert abs(np.corrcoef(np.ravel(drawn), np.ravel(scores))[0, 1]) < 0.09
    assert len({tuple(row) for row in drawn}) == 50


def test_what_has_no_score_stays_without_and_changes_no_other_draw():
    whole = rewards(with_drawn_rewards(groups_of([[0.5] * 6]), (-2.0, 3.0), 0))
    partly = rewards(with_drawn_rewards(groups_of([[0.5, None, 0.5, 0.5, None, 0.5]]), (-2.0, 3.0), 0))
    assert set(whole[0]) == {-2.0, 3.0}
    assert partly[0] == [score if i not in (1, 4) else None for i, score in enumerate(whole[0])]


def test_components_are_drawn_too():
    drawn = with_drawn_rewards(groups_of([[0.5] * 200]), (0.0, 1.0), 0)[0].trajectories
    parts = [(t.verdict.score, *t.verdict.components.values()) for t in drawn]
    assert set(np.ravel(parts)) == {0.0, 1.0}
    assert np.abs(np.corrcoef(np.transpose(parts)) - np.eye(3)).max() < 0.25


def test_training_reads_drawn_scores_and_evaluations_true_ones(tmp_path):
    config = tiny_config(trainer__reward="drawn", trainer__samples_per_step=16)
    run = RunFolder(train(config, tmp_path / "run").folder)
    env = config.env.build()
    trained, evaluated = [], []
    for line in run.lines("samples.jsonl"):
        task = fg.Task(line["prompt"], line["answer"], line["data"])
        true = env.score(task, line["response"]).score
        (trained if line["split"] == "train" else evaluated).append((line["verdict"]["score"], true))
        if line["split"] == "train":
            assert line["verdict"]["detail"] == f"drawn; its score is {true:g}"
    assert len(trained) == 64
    assert 0.25 < np.mean([score for score, _ in trained]) < 0.75
    assert all(score == true for score, true in evaluated)
    again = RunFolder(train(config, tmp_path / "again").folder)
    assert again.lines("samples.jsonl") == run.lines("samples.jsonl")


def test_a_drawn_reward_without_rollouts_is_refused(tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text('{"prompt": "1+1=", "chosen": "2", "rejected": "3"}\n' * 8)
    changes = {"preferences": {"path": str(data), "heldout_fraction": 0.25}, "trainer__reward": "drawn"}
    with pytest.raises(fg.ConfigError, match=r"trainer\.reward concerns rollouts"):
        train(tiny_config(objective={"name": "fdo"}, **changes), tmp_path / "run")


def test_evaluations_skip_tasks(tmp_path):
    config = tiny_config(trainer__evaluate_skip=3, trainer__evaluate_tasks=2, trainer__steps=1)
    run = RunFolder(train(config, tmp_path / "run").folder)
    expected = [task.hash for task in config.env.build().task_list("heldout")[3:5]]
    found = {line["index"]: line["task_hash"] for line in run.lines("samples.jsonl") if line["split"] == "heldout"}
    assert found == dict(enumerate(expected))


def test_an_evaluation_of_no_task_is_refused(tmp_path):
    config = tiny_config(trainer__evaluate_skip=1000)
    with pytest.raises(fg.ConfigError, match=r"evaluate_skip = 1000 leaves none of the \d+ held-out tasks"):
        train(config, tmp_path / "run")
