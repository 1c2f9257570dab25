"""Dynamic sampling: which groups have signal, what takes their places, and what the budget limits."""

import math
from dataclasses import replace

import pytest
import torch
from updates_harness import scored

import fdiv_gym as fg
from fdiv_gym.objectives import differing
from fdiv_gym.runs import event_policies
from fdiv_gym_accelerate.dynamic import Replacement, shares_of
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.start import check_updates


def group(name, *scores, **components):
    """A group with these scores, None for a response without one, and components, each with a value a response."""
    one = fg.Trajectory((1, 2), (0.0, -1.0), (False, True), name, "eos")
    judged = scored(fg.TrajectoryGroup(fg.Task(name), (one,) * len(scores)), scores)
    parts = [{key: values[i] for key, values in components.items()} for i in range(len(scores))]
    with_parts = [
        replace(t, verdict=replace(t.verdict, components={k: v for k, v in part.items() if v is not None}))
        for t, part in zip(judged.trajectories, parts, strict=True)
    ]
    return replace(judged, trajectories=tuple(with_parts))


def filled(own, rounds=(), advantage=None, **options):
    """What ``fill`` returns, the rounds it asked for, and the events; one process."""
    asked, rounds = [], iter(rounds)
    log = EventLog(event_policies({}), lambda line: None)

    def draw(number, count, places):
        asked.append((number, count, places))
        found = next(rounds)
        assert len(found) == count
        return found

    settings = TrainerOptions(prompts_per_step=len(own), dynamic_sampling=options)
    drawn = Replacement(settings, advantage, log, process=0).fill(own, draw)
    return drawn, asked, {record["name"]: record for record in log.records(1)}


def names(groups):
    return [g.task.prompt for g in groups]


def test_groups_without_signal_are_replaced_until_the_budget_is_spent():
    """By hand: places 0, 2, 3 are open; of three groups one has signal, of the two that are left another."""
    own = [group("a", 1.0, 1.0), group("b", 1.0, 0.0), group("c", 0.0, 0.0), group("d", None, 1.0)]
    first = [group("e", 0.2, 0.2), group("f", 0.0, 1.0), group("g", None, None)]
    second = [group("h", 0.1, 0.3), group("i", 0.0, 0.0)]
    drawn, asked, events = filled(own, [first, second], budget=5)
    assert names(drawn.groups) == ["f", "b", "h", "d"]
    assert names(drawn.sampled) == list("abcdefghi")
    assert asked == [(1, 3, slice(0, 3)), (2, 2, slice(0, 2))]
    assert drawn.line == {"groups/sampled": 9.0, "groups/replaced": 2.0, "groups/with_signal": 3.0}
    assert "after 5 further groups 1 of 4 groups have equal rewards or no score" in events["budget_spent"]["message"]
    assert (events["budget_spent"]["without_signal"], events["budget_spent"]["policy"]) == (1.0, "warn")


def test_nothing_is_drawn_where_every_group_has_signal():
    own = [group("a", 1.0, 0.0), group("b", None, 0.0, 1.0)]
    drawn, asked, events = filled(own, budget=9)
    assert (drawn.groups, drawn.sampled, asked, events) == (own, own, [], {})
    assert drawn.line == {"groups/sampled": 2.0, "groups/replaced": 0.0, "groups/with_signal": 2.0}


def test_the_budget_is_not_spent_further_than_needed():
    drawn, asked, events = filled([group("a", 0.0, 0.0)], [[group("b", 1.0, 1.0)], [group("c", 1.0, 0.0)]], budget=9)
    assert (names(drawn.groups), [count for _, count, _ in asked], events) == (["c"], [1, 1], {})


def test_equal_floats_are_equal_and_the_least_difference_is_signal():
    """The mean of three times 0.1 is not 0.1: a test by the deviation from the mean would keep the first."""
    third = math.nextafter(0.1, 1)
    drawn, _, _ = filled([group("a", 0.1, 0.1, 0.1), group("b", 0.1, 0.1, third)], [[group("c", 0, 0, 0)]], budget=1)
    assert drawn.line["groups/with_signal"] == 1
    assert names(drawn.groups) == ["a", "b"]


def test_a_named_component_decides_instead_of_the_reward():
    own = [
        group("reward differs", 0.0, 1.0, right=[1.0, 1.0], length=[3.0, 4.0]),
        group("component differs", 1.0, 1.0, right=[0.0, 1.0], length=[3.0, 3.0]),
        group("only the unscored differs", 1.0, 1.0, None, right=[1.0, 1.0, 0.0], length=[3.0] * 3),
        group("one has it", 1.0, 0.0, right=[1.0, None], length=[3.0, 4.0]),
    ]
    further = [group(str(i), 0.0, 0.0, right=[0.0, float(i == 1)]) for i in range(3)]
    drawn, _, events = filled(own, [further], budget=3, component="right")
    assert names(drawn.groups) == ["1", "component differs", "only the unscored differs", "one has it"]
    assert drawn.line["groups/with_signal"] == 2
    assert "2 of 4 groups have equal values of 'right' or no score" in events["budget_spent"]["message"]


def test_an_unknown_component_is_told_with_the_nearest():
    own = [group("a", 1.0, 0.0, right=[1.0, 0.0]), group("b", None, None)]
    with pytest.raises(fg.ConfigError, match=r"dynamic_sampling\.component = 'rihgt': .*did you mean 'right'\?"):
        filled(own, budget=1, component="rihgt")
    with pytest.raises(fg.ConfigError, match="they have no components"):
        filled([group("a", 1.0, 0.0)], budget=1, component="right")
    # Where nothing could be scored, nothing is known of components.
    drawn, _, _ = filled(
        [group("a", None, None)], [[group("b", 1.0, 0.0, right=[1.0, 0.0])]], budget=1, component="right"
    )
    assert names(drawn.groups) == ["b"]


def test_gdpo_has_signal_where_a_weighted_component_differs():
    """Its rewards may be equal although its components are not, and the other way round."""
    cancel = group("cancel", 1.0, 1.0, good=[1.0, 0.0], safe=[0.0, 1.0])
    flat = group("flat", 0.0, 1.0, good=[1.0, 1.0], safe=[1.0, 1.0])
    safe = group("safe", 1.0, 1.0, good=[1.0, 1.0], safe=[0.0, 1.0])
    plain, good = fg.get_advantage("gdpo"), fg.get_advantage("gdpo", weights={"good": 1.0, "safe": 0.0})
    further = [group("new", 0.0, 1.0, good=[0.0, 1.0], safe=[1.0, 1.0])]
    assert names(filled([cancel, flat, safe], [further], plain, budget=1)[0].groups) == ["cancel", "new", "safe"]
    assert names(filled([cancel, safe], [further], good, budget=1)[0].groups) == ["cancel", "new"]
    assert names(filled([cancel, flat], [further], fg.get_advantage("group"), budget=1)[0].groups) == ["new", "flat"]
    assert names(filled([group("bare", 0.0, 1.0)], advantage=plain, budget=1)[0].groups) == ["bare"]  # no components


def test_groups_with_signal_are_those_whose_advantages_are_not_zero():
    """On random groups of few values, for every estimator that compares within a prompt."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(2, (300, 3), generator=generator).double()
    values[torch.rand(300, 3, generator=generator) < 0.2] = math.nan
    batch = fg.GroupBatch(
        values.flatten(), torch.arange(300).repeat_interleave(3), torch.zeros(900).double(), torch.ones(900)
    )
    for name in ("group", "mean-centred", "leave-one-out", "reinforce++", "beta-normalised"):
        advantage = fg.get_advantage(name)
        moved = torch.zeros(300).index_add(0, batch.index, (advantage.compute(batch) != 0).float()) > 0
        assert torch.equal(moved[batch.index], differing(batch, advantage)), name
        assert 0 < int(moved.sum()) < 300


def test_an_estimator_that_names_no_values_is_refused():
    class Broken(fg.Advantage):
        def compute(self, groups):
            return groups.rewards

        def compared(self, groups):
            return [groups.rewards[:1]]

    with pytest.raises(fg.PluginError, match=r"Broken.*compared must return a list of tensors of shape \(2,\)"):
        filled([group("a", 1.0, 0.0)], advantage=Broken(), budget=1)


@pytest.mark.parametrize(
    ("wanted", "budget", "shares"),
    [
        ([3], 10, [3]),
        ([5, 1], 4, [3, 1]),
        ([0, 2, 2], 3, [0, 2, 1]),
        ([0, 0], 5, [0, 0]),
        ([2, 2], 0, [0, 0]),
        ([4, 0, 4], 5, [3, 0, 2]),
    ],
)
def test_processes_share_the_budget(wanted, budget, shares):
    assert shares_of(wanted, budget) == shares


def test_an_objective_without_rollouts_refuses_the_table():
    settings = TrainerOptions(dynamic_sampling={"budget": 1})
    check_updates(fg.get_objective("f-grpo"), settings)
    with pytest.raises(fg.ConfigError, match=r"trainer\.dynamic_sampling concerns rollouts"):
        check_updates(fg.get_objective("fdo"), settings)


def test_a_budget_is_needed_and_a_wrong_key_is_told():
    for table, said in (
        ({}, "budget' is required"),
        ({"budget": 0}, "budget"),
        ({"budget": 1, "filter": "x"}, "filter"),
    ):
        with pytest.raises(fg.ConfigError, match=said):
            fg.get("trainer", "accelerate", dynamic_sampling=table)
