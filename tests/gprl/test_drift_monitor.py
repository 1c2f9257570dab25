"""The callback drift-monitor: what it sets, what it refuses, and that a resumed one goes on in the same way."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.runs import Controls, callback_metrics
from fdiv_gym.runs.panels import panels_of
from fdiv_gym.testing import check_callback

FAST = {"warmup": 2, "smoothing": 0.5, "relaxation": 0.5, "threshold": 0.05}


def groups(spread, seed=0, names=("gprl/0", "gprl/1", "gprl/2"), level=0.0):
    """Two prompts of six responses; ``spread`` scales the first dimension."""
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(12, generator=generator, dtype=torch.float64) for name in names}
    values[names[0]] = values[names[0]] * spread
    parts = dict(values)
    for name in names:
        if name.startswith("gprl/"):
            parts[name.replace("gprl", "lambda")] = torch.ones(12).double()
            parts[name.replace("gprl", "anchored")] = values[name] + (level if name == names[0] else 0.0)
    rewards = torch.rand(12, generator=generator, dtype=torch.float64)
    return dataclasses.replace(fg.GroupBatch.of_equal_size(rewards, 6), components=parts)


def play(monitor, controls, steps, first=1):
    for step, spread in enumerate(steps, start=first):
        monitor.before_updates(step, groups(spread, seed=0), controls)


def test_it_sets_multipliers_and_the_kl_coefficient():
    objective = fg.get_objective("gprl")
    monitor = fg.get_callback("drift-monitor", **FAST)
    play(monitor, Controls(objective), [1, 1])
    assert (objective.kl_scale, set(objective.advantage.multipliers.values())) == (1.0, {1.0})
    play(monitor, Controls(objective), [3, 3, 3], first=3)
    found = objective.advantage.multipliers
    assert found["gprl/0"] < 1 < found["gprl/1"]
    assert found == monitor.law.multipliers()
    assert objective.kl_scale == monitor.law.kl_scale > 1
    # The loss is that of the larger coefficient, and the advantages are those of the multipliers.
    plain = fg.get_advantage("gprl").compute(groups(3))
    assert not torch.equal(objective.advantage.compute(groups(3)), plain)


def test_its_metrics_are_what_it_set():
    objective, monitor = fg.get_objective("gprl"), fg.get_callback("drift-monitor", **FAST)
    play(monitor, Controls(objective), [1])
    assert monitor.metrics() == {}
    play(monitor, Controls(objective), [1, 3, 3, 3], first=2)
    line = callback_metrics(monitor)
    names = ["gprl/0", "gprl/1", "gprl/2"]
    assert {name: line[f"drift/multiplier/{name}"] for name in names} == objective.advantage.multipliers
    assert line["drift/kl_scale"] == objective.kl_scale > 1
    shares = [line[f"drift/share/{name}"] for name in names]
    assert sum(shares) == pytest.approx(1)
    # The eigenvalues are 1, so the shares start equal.
    assert line["drift/divergence"] == pytest.approx(sum(a * np.log(3 * a) for a in shares))
    assert len(line) == 8


def test_it_records_only_where_it_must_not_act():
    objective = fg.get_objective("grpo", beta=0.0)
    monitor = fg.get_callback("drift-monitor", act=False, **FAST)
    play(monitor, Controls(objective), [1, 1, 3, 3])
    assert (objective.advantage.multipliers, objective.kl_scale) == ({}, 1.0)
    assert monitor.law.acting


def test_it_works_for_named_components_of_any_environment():
    objective = fg.get_objective("grpo", advantage="gdpo", beta=0.1)
    monitor = fg.get_callback("drift-monitor", **FAST)
    for step, spread in enumerate([1, 1, 3, 3, 3], start=1):
        monitor.before_updates(step, groups(spread, names=("form", "result")), Controls(objective))
    assert set(monitor.law.shares()) == {"form", "result"}
    assert objective.advantage.multipliers["form"] < 1 < objective.advantage.multipliers["result"]


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        (("grpo", {"beta": 0.1}), {}, "the advantage 'group', on which the multipliers of gprl/0, .* have no effect"),
        (("gprl", {"beta": 0.0}), {}, "or tightening = 0"),
        (("gprl", {}), {"components": ["gprl/9"]}, "no verdict of the step has the component 'gprl/9'"),
        (("gprl", {}), {"threshold": 2.0}, "at most 1.099 nats: set threshold below it"),
    ],
)
def test_a_monitor_without_effect_is_refused(objective, options, message):
    name, own = objective
    monitor = fg.get_callback("drift-monitor", **(FAST | options))
    with pytest.raises(fg.ConfigError, match=message):
        play(monitor, Controls(fg.get_objective(name, **own)), [1, 1, 3])


def test_components_that_the_advantage_does_not_weigh_are_refused():
    advantage = {"name": "gdpo", "weights": {"result": 1.0, "again": 1.0}}
    objective = fg.get_objective("grpo", advantage=advantage, beta=0.1)
    one = groups(1, names=("form", "result"))
    parts = one.components | {"again": one.components["result"].clone(), "constant": torch.ones(12).double()}
    one = dataclasses.replace(one, components=parts)
    with pytest.raises(fg.ConfigError, match=r"the multipliers of form have no effect: .*name what to watch in comp"):
        fg.get_callback("drift-monitor", warmup=1).before_updates(1, one, Controls(objective))
    monitor = fg.get_callback("drift-monitor", warmup=1, components=["result", "again"])
    monitor.before_updates(1, one, Controls(objective))  # two equal components
    assert set(objective.advantage.multipliers) == {"result", "again"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, "another callback sets the multiplier of a too"),
        ({"components": ["c", "d"]}, "another callback sets the factor on the KL coefficient too"),
        ({"components": ["c", "d"], "tightening": 0.0}, ""),
        ({"act": False}, ""),
    ],
)
def test_two_monitors_must_not_set_the_same(second, message):
    objective = fg.get_objective("grpo", advantage="gdpo", beta=0.1)
    monitors = [fg.get_callback("drift-monitor", **(FAST | o)) for o in ({"components": ["a", "b"]}, second)]

    def both():
        for step, spread in enumerate([1, 1, 3, 5, 3, 1], start=1):
            for monitor in monitors:
                monitor.before_updates(step, groups(spread, names=("a", "b", "c", "d")), Controls(objective))

    if message:
        with pytest.raises(fg.ConfigError, match=message):
            both()
    else:
        both()
        assert objective.kl_scale == monitors[0].law.kl_scale > 1
        assert objective.advantage.multipliers["a"] == monitors[0].law.multipliers()["a"] < 1


def test_a_resume_with_other_components_is_refused():
    first = fg.get_callback("drift-monitor", **FAST)
    play(first, Controls(fg.get_objective("gprl")), [1, 1, 3])
    state = json.loads(json.dumps(first.state_dict()))
    fg.get_callback("drift-monitor", components=["gprl/2", "gprl/1", "gprl/0"]).load_state_dict(state)
    with pytest.raises(fg.ConfigError, match="the run watched gprl/0, gprl/1, gprl/2 before, and components is gprl/1"):
        fg.get_callback("drift-monitor", components=["gprl/1"]).load_state_dict(state)


def test_a_resume_without_tightening_takes_the_factor_back():
    first, objective = fg.get_callback("drift-monitor", **FAST), fg.get_objective("gprl")
    play(first, Controls(objective), [1, 1, 3, 3, 3])
    before = objective.kl_scale
    second = fg.get_callback("drift-monitor", **FAST, tightening=0.0)
    second.load_state_dict(first.state_dict())
    play(second, Controls(objective), [3, 3, 3, 3], first=6)
    assert 1 < objective.kl_scale < 1 + 0.1 * (before - 1)


def test_without_a_penalty_it_sets_multipliers_only():
    objective = fg.get_objective("f-grpo", advantage="gprl")
    monitor = fg.get_callback("drift-monitor", tightening=0.0, **FAST)
    play(monitor, Controls(objective), [1, 1, 3])
    assert objective.advantage.multipliers["gprl/0"] < 1


def test_steps_without_readings_change_nothing():
    objective = fg.get_objective("gprl")
    monitor = fg.get_callback("drift-monitor", **FAST)
    play(monitor, Controls(objective), [1, 1, 3])
    before = monitor.law.state_dict()
    nothing = dataclasses.replace(groups(1), components={})
    alone = groups(1)
    alone = dataclasses.replace(alone, index=torch.arange(12))
    for step, empty in enumerate((nothing, alone), start=4):
        monitor.before_updates(step, empty, Controls(objective))
        assert monitor.law.state_dict() == before


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_resumed_monitor_goes_on_in_the_same_way(cut):
    steps = [1, 1, 3, 4, 2, 1, 0.5, 1]
    whole, first, second = (fg.get_callback("drift-monitor", **FAST) for _ in range(3))
    objectives = [fg.get_objective("gprl") for _ in range(3)]
    play(whole, Controls(objectives[0]), steps)
    play(first, Controls(objectives[1]), steps[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    play(second, Controls(objectives[2]), steps[cut:], first=cut + 1)
    assert second.state_dict() == whole.state_dict()
    assert objectives[2].advantage.multipliers == objectives[0].advantage.multipliers
    assert objectives[2].kl_scale == objectives[0].kl_scale


def test_it_passes_the_kit():
    report = check_callback(fg.get_callback("drift-monitor"))
    assert report.ok, report.text()


def test_the_panel_shows_what_it_saw_and_did():
    monitor = fg.get_callback("drift-monitor", **FAST)
    assert list(monitor.panels()) == []
    play(monitor, Controls(fg.get_objective("gprl")), [1, 1, 3, 3, 1, 1, 1, 1, 1])
    (panel,) = monitor.panels()
    figures = {figure.title: figure.series for figure in panel.figures}
    shares = figures["Shares of the dimensions"]
    assert [step for step, _ in shares["gprl/0"]] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert shares["gprl/0"][0][1] == pytest.approx(1 / 3, abs=1e-15)
    assert shares["gprl/0"][-1][1] == monitor.law.shares()["gprl/0"]
    assert figures["Multipliers of the dimensions"]["gprl/1"][-1][1] == monitor.law.multipliers()["gprl/1"]
    assert figures["KL coefficient"]["factor"][2][1] > 1
    (table,) = panel.tables
    assert [row[:2] for row in table.rows] == [(3, "begins to act"), (8, "stops acting")]
    assert table.rows[0][4] == "gprl/0"
    (record,) = panels_of(monitor)
    assert record["callback"] == "drift-monitor"
