"""The advantage gprl: values by hand, and its invariances."""

import dataclasses
import math

import pytest
import torch
from gprl_groups import groups_of, random_groups

import fdiv_gym as fg
from fdiv_gym.objectives import differing
from fdiv_gym.testing import check_advantage
from fdiv_gym_gprl.scores import pair_scores

NAN = math.nan
ROOT = math.sqrt(1.5)


def batch(rewards, **components):
    n = len(rewards)
    parts = {name.replace("_", "/"): torch.tensor(values).double() for name, values in components.items()}
    return dataclasses.replace(fg.GroupBatch.of_equal_size(torch.tensor(rewards).double(), n), components=parts)


#: Two dimensions of very different scales, standardised to (1, 0, -1) and (-1, 0, 1) times sqrt(3/2).
BY_HAND = {"gprl_0": [3.0, 2.0, 1.0], "gprl_1": [-1e5, 0.0, 1e5], "lambda_0": [2.0] * 3, "lambda_1": [0.5] * 3}


@pytest.mark.parametrize(
    ("options", "factor"),
    [({}, 1.5), ({"aggregate": "mean"}, 0.6), ({"correction": 1}, 1.5 * math.sqrt(2 / 3))],
)
def test_by_hand(options, factor):
    found = fg.get_advantage("gprl", **options).compute(batch([0.1, 0.2, 0.3], **BY_HAND))
    torch.testing.assert_close(found, torch.tensor([1.0, 0, -1]).double() * factor * ROOT, rtol=1e-7, atol=1e-12)


def test_multipliers_weigh_the_dimensions():
    advantage = fg.get_advantage("gprl")
    advantage.multipliers = {"gprl/0": 0.5, "gprl/1": 4.0}
    found = advantage.compute(batch([0.1, 0.2, 0.3], **BY_HAND))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0, 1]).double() * ROOT, rtol=1e-7, atol=1e-12)
    mean = fg.get_advantage("gprl", aggregate="mean")
    mean.multipliers = advantage.multipliers
    found = mean.compute(batch([0.1, 0.2, 0.3], **BY_HAND))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0, 1]).double() * ROOT / 3, rtol=1e-7, atol=1e-12)


def test_weights_of_zero_give_zero_and_not_nan():
    advantage = fg.get_advantage("gprl", aggregate="mean")
    advantage.multipliers = {"gprl/0": 0.0, "gprl/1": 0.0}
    assert advantage.compute(batch([0.1, 0.2, 0.3], **BY_HAND)).tolist() == [0.0, 0.0, 0.0]


def test_only_dimensions_with_a_weight_are_compared():
    groups = batch([0.5, 0.5], gprl_0=[1.0, -1.0], gprl_1=[0.0, 0.0], lambda_0=[1.0, 1.0], lambda_1=[1.0, 1.0])
    advantage = fg.get_advantage("gprl")
    assert differing(groups, advantage).tolist() == [True, True]
    advantage.multipliers = {"gprl/0": 0.0}
    assert differing(groups, advantage).tolist() == [False, False]
    advantage.multipliers = {"gprl/0": 0.0, "gprl/1": 0.0}
    assert differing(groups, advantage).tolist() == [False, False]
    none = dataclasses.replace(groups, components={**groups.components, "lambda/0": torch.zeros(2).double()})
    assert differing(none, fg.get_advantage("gprl")).tolist() == [False, False]


def test_an_unscored_response_and_a_missing_dimension_count_for_nothing():
    groups = batch(
        [0.1, NAN, 0.3, 0.2], gprl_0=[1.0, 50.0, 3.0, NAN], gprl_1=[0.0, 9.0, 2.0, 4.0],
        lambda_0=[1.0, 1.0, 1.0, NAN], lambda_1=[1.0] * 4,
    )  # fmt: skip
    found = fg.get_advantage("gprl").compute(groups)
    expected = [-1 - ROOT, 0, 1, ROOT]  # dimension 0: (-1, -, 1, -), dimension 1: (-1, -, 0, 1) sqrt(3/2)
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-7, atol=1e-12)
    mean = fg.get_advantage("gprl", aggregate="mean").compute(groups)
    halved = [(-1 - ROOT) / 2, 0, 0.5, ROOT]
    torch.testing.assert_close(mean, torch.tensor(halved).double(), rtol=1e-7, atol=1e-12)


def test_pinned_to_one_dimension_it_is_grpo_on_the_logit():
    logits = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = groups_of([torch.stack([logits, torch.ones(8)], -1)], [[1.0]])
    expected = fg.get_advantage("group").compute(fg.GroupBatch.of_equal_size(logits, 8))
    torch.testing.assert_close(fg.get_advantage("gprl").compute(groups), expected, rtol=0, atol=2e-6)
    exact = fg.get_advantage("group", eps=0.0).compute(fg.GroupBatch.of_equal_size(logits, 8))
    torch.testing.assert_close(fg.get_advantage("gprl").compute(groups), exact, rtol=0, atol=1e-6)


def test_a_permutation_of_the_responses_permutes():
    embeddings, eigenvalues = random_groups(sizes=(6,))
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    whole = fg.get_advantage("gprl").compute(groups_of(embeddings, eigenvalues))
    permuted = fg.get_advantage("gprl").compute(groups_of([embeddings[0][order]], eigenvalues))
    torch.testing.assert_close(permuted, whole[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("eigenvalue", [False, True])
def test_the_scale_of_a_dimension_does_not_matter_but_its_eigenvalue_does(eigenvalue):
    embeddings, eigenvalues = random_groups()
    before = fg.get_advantage("gprl").compute(groups_of(embeddings, eigenvalues))
    for group, values in zip(embeddings, eigenvalues, strict=True):
        if eigenvalue:
            values[1] *= 1000
        else:
            group[:, 2:4] *= math.sqrt(1000)
    change = (fg.get_advantage("gprl").compute(groups_of(embeddings, eigenvalues)) - before).abs().max()
    assert float(change) > 10 if eigenvalue else float(change) < 1e-3


def test_groups_do_not_read_each_other():
    embeddings, eigenvalues = random_groups()
    together = fg.get_advantage("gprl").compute(groups_of(embeddings, eigenvalues))
    alone = [
        fg.get_advantage("gprl").compute(groups_of([e], [v])) for e, v in zip(embeddings, eigenvalues, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def plane(scores):
    """Three points whose determinants are a skew-symmetric 3 x 3 matrix."""
    points = [[1.0, 0.0], [scores[1][2] / scores[0][2], scores[0][1]], [0.0, scores[0][2]]]
    return torch.tensor(points, dtype=torch.float64)


def test_a_cycle_has_equal_scalars_and_unequal_dimensions():
    # Each response beats one other by 1; the first dimension orders them, the second holds the rest of the cycle.
    order = [[u - v for v in (0.5, 0.0, -1.0)] for u in (0.5, 0.0, -1.0)]
    cycle = [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]
    rest = [[(cycle[i][j] - order[i][j]) / 2 for j in range(3)] for i in range(3)]
    embeddings = torch.cat([plane(order), plane(rest)], 1)
    total = pair_scores(embeddings.unsqueeze(1), embeddings.unsqueeze(0)) @ torch.tensor([1.0, 2.0]).double()
    torch.testing.assert_close(total, torch.tensor(cycle).double(), rtol=0, atol=1e-15)
    groups = groups_of([embeddings], [[1.0, 2.0]])
    advantage = fg.get_advantage("gprl")
    assert bool(groups.all_equal().all())  # the rewards
    assert bool(differing(groups, advantage).all())
    # z of the second dimension is minus that of the first: A = z - 2 z
    z = torch.tensor([0.5, 0.0, -1.0]).double() + 1 / 6
    torch.testing.assert_close(advantage.compute(groups), -z / z.square().mean().sqrt(), rtol=0, atol=1e-7)


def test_a_group_of_one_and_a_group_of_equal_responses_have_none():
    same = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).double()
    groups = groups_of([same, same.expand(4, 4)], [[1.0, 1.0], [1.0, 1.0]])
    advantage = fg.get_advantage("gprl")
    assert advantage.compute(groups).tolist() == [0.0] * 5
    assert not bool(differing(groups, advantage).any())


def test_a_step_without_components_takes_the_reward():
    groups = fg.GroupBatch.of_equal_size(torch.tensor([0.5, 1.0, 0.0, 0.25]).double(), 4)
    expected = fg.get_advantage("group", eps=1e-8).compute(groups)
    assert torch.equal(fg.get_advantage("gprl").compute(groups), expected)


@pytest.mark.parametrize("parts", [{"form": [1.0, 2.0]}, {"gprl_0": [1.0, 2.0]}])
def test_components_of_something_else_are_refused(parts):
    missing = "lambda/0" if "gprl_0" in parts else "gprl/0"
    with pytest.raises(fg.ConfigError, match=f"no verdict of the step has the component '{missing}'"):
        fg.get_advantage("gprl").compute(batch([0.0, 1.0], **parts))


def test_it_passes_the_kit():
    report = check_advantage(fg.get_advantage("gprl"))
    assert report.ok, report.text()
