"""The judge gpm against the model itself, response by response."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from gpm_models import small, write_released

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder
from fdiv_gym.testing import check_judge
from fdiv_gym.testing.tiny import tiny_tokenizer
from fdiv_gym_gprl.texts import batch_of, row_of

TASK, OTHER = fg.Task("which one is good"), fg.Task("and here")
TEXTS = ["red", "a blue one", "green", "no"]


@pytest.fixture(scope="module")
def model():
    return small(dimensions=2, tau=0.7)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("gpm") / "model"
    model.save(path, tiny_tokenizer())
    return str(path)


def encoded(model, task, texts):
    """Embeddings and eigenvalues, one response at a time."""
    encoder = ChatEncoder(tiny_tokenizer())
    rows = [model.encode(*batch_of([row_of(encoder, task.prompt, text, 64)], 0)) for text in texts]
    return [e[0].detach().double() for e, _ in rows], rows[0][1][0].detach().double()


def by_hand(model, task, texts, others, tau):
    """Win probabilities [n, m] and scores [n, m, k] in plain loops."""
    own, eigenvalues = encoded(model, task, texts)
    against, _ = encoded(model, task, others)
    scores = torch.tensor([[[float(a[2 * d] * b[2 * d + 1] - a[2 * d + 1] * b[2 * d]) for d in range(2)]
                            for b in against] for a in own]).double()  # fmt: skip
    return torch.sigmoid((scores * eigenvalues).sum(-1) / tau), scores, eigenvalues


def test_scores_and_components_of_a_group(model, folder):
    verdicts = fg.get_judge("gpm", model=folder).judge_batch([TASK] * 4, TEXTS)
    chances, scores, eigenvalues = by_hand(model, TASK, TEXTS, TEXTS, 0.7)
    for i, verdict in enumerate(verdicts):
        others = [j for j in range(4) if j != i]
        assert verdict.score == pytest.approx(float(chances[i, others].mean()), abs=1e-5)
        expected = {f"gprl/{d}": float(scores[i, others, d].mean()) for d in range(2)}
        expected |= {f"lambda/{d}": float(eigenvalues[d]) for d in range(2)}
        assert verdict.components == pytest.approx(expected, abs=1e-5)
    for d in range(2):
        assert sum(v.components[f"gprl/{d}"] for v in verdicts) == pytest.approx(0, abs=1e-12)
    assert sum(v.score for v in verdicts) == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("where", ["task", "option"])
def test_scores_against_anchors(model, folder, where):
    anchors = ["an anchor", "red"]
    task = fg.Task(TASK.prompt, data={"anchors": anchors} if where == "task" else {})
    options = {"anchors": anchors} if where == "option" else {"anchors": ["not read"]}
    judge = fg.get_judge("gpm", model=folder, against="anchors", **options)
    chances, scores, _ = by_hand(model, task, TEXTS, anchors, 0.7)
    for i, verdict in enumerate(judge.judge_batch([task] * 4, TEXTS)):
        assert verdict.score == pytest.approx(float(chances[i].mean()), abs=1e-5)
        assert verdict.components["anchored/1"] == pytest.approx(float(scores[i, :, 1].mean()), abs=1e-5)
        assert "gprl/0" in verdict.components
    alone = judge.judge_batch([task], ["green"])[0]
    assert alone.score == pytest.approx(float(chances[2].mean()), abs=1e-5)
    assert "gprl/0" not in alone.components


def test_anchors_are_components_of_a_group_too(folder):
    verdicts = fg.get_judge("gpm", model=folder, anchors=["red"]).judge_batch([TASK] * 2, ["red", "green"])
    assert verdicts[0].components["anchored/0"] == 0.0  # the anchor itself
    plain = fg.get_judge("gpm", model=folder).judge_batch([TASK] * 2, ["red", "green"])
    assert [v.score for v in verdicts] == [v.score for v in plain]


def test_what_cannot_be_compared_is_unscorable(folder):
    alone = fg.get_judge("gpm", model=folder).judge_batch([TASK, OTHER, OTHER], TEXTS[:3])
    assert [v.status for v in alone] == [fg.Status.UNSCORABLE, fg.Status.SCORED, fg.Status.SCORED]
    assert alone[0].detail == "a group of one has no other response to compare with"
    without = fg.get_judge("gpm", model=folder, against="anchors").judge_batch([TASK], ["red"])[0]
    assert (without.score, without.detail[:11]) == (None, "no anchors:")
    wrong = fg.Task("x", data={"anchors": "red"})
    found = fg.get_judge("gpm", model=folder).judge_batch([wrong, wrong, TASK, TASK], TEXTS)
    assert [v.score is None for v in found] == [True, True, False, False]


def test_a_task_twice_is_two_groups(folder):
    tasks = [dataclasses.replace(TASK, group=g) for g in (0, 1, 0, 1)]
    judge = fg.get_judge("gpm", model=folder)
    found, one = judge.judge_batch(tasks, TEXTS), judge.judge_batch([TASK, TASK], TEXTS[0::2])
    assert [found[0].score, found[2].score] == [v.score for v in one]
    assert found[0].score + found[2].score == pytest.approx(1, abs=1e-12)


def test_embeddings_are_kept_and_verdicts_are_not(folder):
    judge = fg.get_judge("gpm", model=folder)
    first = judge.judge_batch([TASK] * 3, ["red", "red", "blue"])
    assert judge.embedder.computed == 2
    second = judge.judge_batch([TASK] * 2, ["red", "green"])
    assert judge.embedder.computed == 3
    assert first[0].score != second[0].score
    judge.judge_batch([OTHER] * 2, ["red", "green"])
    assert judge.embedder.computed == 5
    few = fg.get_judge("gpm", model=folder, cached_embeddings=1)
    for _ in range(2):
        few.judge_batch([TASK] * 2, ["red", "green"])
    assert few.embedder.computed == 4 - 1


def test_equal_responses_tie(folder):
    verdicts = fg.get_judge("gpm", model=folder).judge_batch([TASK] * 3, ["red"] * 3)
    assert [v.score for v in verdicts] == [0.5] * 3
    assert all(v.components["gprl/0"] == v.components["gprl/1"] == 0.0 for v in verdicts)


def test_comparisons(model, folder):
    judge = fg.get_judge("gpm", model=folder)
    (chance,), _, _ = by_hand(model, TASK, ["red"], ["green"], 0.7)
    for pair, expected in ((["red"], ["green"]), float(chance)), ((["green"], ["red"]), 1 - float(chance)):
        (found,) = fg.rewards.run_async(lambda p=pair: judge.compare([TASK], *p))
        assert found.components["probability"] == pytest.approx(expected, abs=1e-5)
        assert found.score == float(expected > 0.5)
    (tie,) = fg.rewards.run_async(lambda: judge.compare([TASK], ["red"], ["red"]))
    assert (tie.score, tie.components["probability"]) == (0.5, 0.5)


def test_responses_to_a_prompt_that_is_cut_are_compared_skew_symmetrically(folder):
    task = fg.Task("which of these is the best of all the answers that one could give here")
    judge = fg.get_judge("gpm", model=folder, batch_size=1)
    texts = ["red", "a blue one, and " * 3, "green"]
    assert len({tuple(values.tolist()) for _, values in judge.embedder([task] * 3, texts)}) == 3  # the test's point

    def chance(first, second):
        (found,) = fg.rewards.run_async(lambda: judge.compare([task], [first], [second]))
        return found.components["probability"]

    for a, b in itertools.combinations(texts, 2):
        assert chance(a, b) + chance(b, a) == pytest.approx(1, abs=1e-12)
    found = judge.judge_batch([task] * 3, texts)
    assert found[0].score == pytest.approx((chance(texts[0], texts[1]) + chance(texts[0], texts[2])) / 2, abs=1e-12)
    assert sum(v.score for v in found) == pytest.approx(1.5, abs=1e-12)
    for verdict, other in zip(found, reversed(judge.judge_batch([task] * 3, texts[::-1])), strict=True):
        assert verdict.score == pytest.approx(other.score, abs=1e-12)
        assert verdict.components == pytest.approx(other.components, abs=1e-12)
    anchored = fg.get_judge("gpm", model=folder, batch_size=1, against="anchors", anchors=["no"])
    alone = anchored.judge_batch([task], texts[:1])[0]
    assert anchored.judge_batch([task] * 3, texts)[0].score == alone.score  # whatever else is judged


def test_long_texts_keep_the_end_token():
    encoder = ChatEncoder(tiny_tokenizer())
    whole = row_of(encoder, "abc", "defg", 8)
    assert (len(whole.ids), whole.prompt, whole.ids[-1]) == (8, 3, 1)
    assert row_of(encoder, "abc", "defghij", 8).ids == (*whole.ids[:-1], 1)
    short = row_of(encoder, "abcdefgh", "xyzuvw", 8)
    assert (len(short.ids), short.prompt) == (8, 4)
    assert short.ids[:4] == tuple(encoder.prompt("efgh"))
    assert row_of(encoder, "", "", 8).ids == (1, 1)


def test_a_released_checkpoint(tmp_path):
    write_released(tmp_path / "released")
    judge = fg.get_judge("gpm", model=str(tmp_path / "released"), tau=0.5)
    first, second = judge.judge_batch([TASK] * 2, ["red", "green"])
    assert first.score + second.score == pytest.approx(1, abs=1e-12)
    assert set(first.components) == {f"{part}/{d}" for part in ("gprl", "lambda") for d in range(3)}
    assert sum(first.components[f"lambda/{d}"] for d in range(3)) == pytest.approx(1, abs=1e-6)
    logit = sum(first.components[f"lambda/{d}"] * first.components[f"gprl/{d}"] for d in range(3)) / 0.5
    assert first.score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-9)


def test_a_folder_that_is_no_preference_model_is_named(tmp_path):
    with pytest.raises(fg.JudgeError, match="judge 'gpm' cannot load"):
        fg.get_judge("gpm", model=str(tmp_path))


def test_a_folder_whose_tokenizer_cannot_be_its_own_is_refused(tmp_path):
    small(dimensions=2).save(tmp_path / "without")
    with pytest.raises(fg.JudgeError, match="has no tokenizer: its vocabulary is empty"):
        fg.get_judge("gpm", model=str(tmp_path / "without"))
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["~new~"])
    small(dimensions=2).save(tmp_path / "larger", tokenizer)
    judge = fg.get_judge("gpm", model=str(tmp_path / "larger"))
    assert judge.judge_batch([TASK] * 2, ["red", "green"])[0].score is not None
    with pytest.raises(fg.TrainerError, match=r"gives token \d+, and the model has \d+: use the tokenizer"):
        judge.judge_batch([TASK] * 2, ["red", "~new~"])


@pytest.mark.parametrize("context", [1, -5])
def test_a_context_without_room_is_refused(tmp_path, context):
    write_released(tmp_path / "released")
    path = tmp_path / "released" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": context}))
    with pytest.raises(fg.JudgeError, match=f"takes {context} tokens by its config.json"):
        fg.get_judge("gpm", model=str(tmp_path / "released"))


def test_a_model_whose_output_is_not_finite_scores_nothing(folder):
    judge = fg.get_judge("gpm", model=folder)
    judge.embedder.model.value_head.weight.fill_(math.inf)
    found = judge.judge_batch([TASK] * 2, ["red", "green"])
    assert [v.detail for v in found] == ["the preference model's output is not finite"] * 2


def test_it_passes_the_kit(folder):
    report = check_judge(fg.get_judge("gpm", model=folder, anchors=["red"], against="anchors"))
    assert report.ok, report.text()
    report = check_judge(fg.get_judge("gpm", model=folder))
    assert report.ok, report.text()
