"""Life-cycle hooks: every moment in order with its arguments; a failing observer is reported and dropped."""

from __future__ import annotations

import pytest

import fdiv_gym as fg
from fdiv_gym.config import parse_config
from fdiv_gym.discovery import discovery
from fdiv_gym.observer import MOMENTS
from fdiv_gym.runfolder import RunFolder
from fdiv_gym_accelerate.observing import Observers

CALLS: list[tuple] = []


class Diary(fg.Observer):
    def before_rollouts(self, step):
        CALLS.append(("before_rollouts", step))

    def after_rollouts(self, step, groups):
        CALLS.append(("after_rollouts", step, [t.verdict for g in groups for t in g.trajectories]))

    def after_verdicts(self, step, groups):
        CALLS.append(("after_verdicts", step, [t.verdict.status for g in groups for t in g.trajectories]))

    def after_advantages(self, step, coefficients):
        CALLS.append(("after_advantages", step, sorted(coefficients), len(coefficients["rollouts"].active)))

    def after_step(self, step, metrics):
        CALLS.append(("after_step", step, metrics["reward/mean"]))

    def at_evaluation(self, step, metrics):
        CALLS.append(("at_evaluation", step, metrics["accuracy_greedy"]))

    def at_end(self, result):
        CALLS.append(("at_end", result.status, result.steps))


class Clumsy(fg.Observer):
    calls = 0

    def after_verdicts(self, step, groups):
        Clumsy.calls += 1
        raise KeyError("oops")


def test_a_run_calls_every_moment_and_survives_a_clumsy_observer(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("observer", "diary", Diary, "strangers:plugin"))
        registry.add(fg.Entry("observer", "clumsy", Clumsy, "strangers:plugin"))
        config = parse_config(
            {
                "env": {"id": "math/Addition-v0", "digits": 1},
                "model": {"embedded": {"layers": 1, "heads": 1, "warm_start_steps": 2, "warm_start_batch": 4}},
                "engine": {"max_new_tokens": 4},
                "trainer": {"steps": 2, "prompts_per_step": 2, "group_size": 3, "evaluate_tasks": 2},
                "observers": [{"name": "clumsy"}, {"name": "diary"}],
            }
        )
        folder = RunFolder.create(tmp_path / "run", config.resolved())
        fg.get_trainer(config.trainer.flat("name")).fit(config, folder.path)
    step = ["before_rollouts", "after_rollouts", "after_verdicts", "after_advantages", "after_step"]
    assert [call[0] for call in CALLS] == ["at_evaluation", *step, *step, "at_evaluation", "at_end"]
    assert {call[0] for call in CALLS} == set(MOMENTS)
    by_moment = {call[0]: call for call in CALLS[:6]}
    assert by_moment["after_rollouts"][2] == [None] * 6
    assert by_moment["after_verdicts"][2] == ["scored"] * 6
    assert by_moment["after_advantages"][2:] == (["rollouts"], 6)
    assert CALLS[-1] == ("at_end", "finished", 2)
    assert Clumsy.calls == 1  # dropped after its first failure


def test_a_failure_is_reported_with_the_plugin_and_the_moment():
    said: list[str] = []
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("observer", "clumsy", Clumsy, "strangers:plugin"))
        observers = Observers([fg.get_observer("clumsy")], said.append)
        observers.call("after_verdicts", 1, [])
        observers.call("after_verdicts", 2, [])
    assert said == [
        "observer 'clumsy' of plugin strangers:plugin failed at after_verdicts: KeyError: 'oops'; "
        "it is dropped, the run goes on"
    ]


def test_a_fatal_observer_stops_the_run():
    class Strict(Clumsy):
        fatal = True

    with pytest.raises(fg.PluginError, match="observer 'Strict' failed at after_verdicts: KeyError: 'oops'"):
        Observers([Strict()], print).call("after_verdicts", 1, [])


def test_an_observer_that_exits_is_dropped_like_any_other():
    class Quitter(fg.Observer):
        def after_step(self, step, metrics):
            raise SystemExit(3)

    said = []
    observers = Observers([Quitter()], said.append)
    observers.call("after_step", 1, {})
    observers.call("after_step", 2, {})
    assert len(said) == 1
    assert "observer 'Quitter' failed at after_step: SystemExit: 3" in said[0]
