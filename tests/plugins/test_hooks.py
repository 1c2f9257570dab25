"""Life-cycle hooks: every event in order with its arguments; a failing callback is reported and dropped."""

from __future__ import annotations

import pytest

import fdiv_gym as fg
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.runs.callback import EVENTS
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.callbacks import Callbacks

CALLS: list[tuple] = []


class Recorder(fg.Callback):
    def before_rollouts(self, step):
        CALLS.append(("before_rollouts", step))

    def after_rollouts(self, step, groups):
        CALLS.append(("after_rollouts", step, [t.verdict for g in groups for t in g.trajectories]))

    def after_verdicts(self, step, groups):
        CALLS.append(("after_verdicts", step, [t.verdict.status for g in groups for t in g.trajectories]))

    def before_updates(self, step, groups, controls):
        CALLS.append(("before_updates", step, groups.rewards.shape, type(controls.advantage).__name__))

    def after_advantages(self, step, coefficients):
        CALLS.append(("after_advantages", step, sorted(coefficients), len(coefficients["rollouts"].active)))

    def after_step(self, step, metrics):
        CALLS.append(("after_step", step, metrics["reward/mean"]))

    def at_evaluation(self, step, metrics):
        CALLS.append(("at_evaluation", step, metrics["score/greedy"]))

    def at_end(self, result):
        CALLS.append(("at_end", result.status, result.steps))


class Failing(fg.Callback):
    calls = 0

    def after_verdicts(self, step, groups):
        Failing.calls += 1
        raise KeyError("oops")


def test_a_run_calls_every_event_and_continues_after_a_failing_callback(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("callback", "recorder", Recorder, "thirdparty:plugin"))
        registry.add(fg.Entry("callback", "failing", Failing, "thirdparty:plugin"))
        config = parse_config(
            {
                "env": {"id": "math/Addition-v0", "digits": 1},
                "model": {"embedded": {"layers": 1, "heads": 1, "warm_start_steps": 2, "warm_start_batch": 4}},
                "engine": {"max_new_tokens": 4},
                "trainer": {"steps": 2, "prompts_per_step": 2, "group_size": 3, "evaluate_tasks": 2},
                "callbacks": [{"name": "failing"}, {"name": "recorder"}],
            }
        )
        folder = RunFolder.create(tmp_path / "run", config.resolved())
        config.trainer.build().fit(config, folder.path)
    step = ["before_rollouts", "after_rollouts", "after_verdicts", "before_updates", "after_advantages", "after_step"]
    assert [call[0] for call in CALLS] == ["at_evaluation", *step, *step, "at_evaluation", "at_end"]
    assert {call[0] for call in CALLS} == set(EVENTS)
    by_moment = {call[0]: call for call in CALLS[:7]}
    assert by_moment["after_rollouts"][2] == [None] * 6
    assert by_moment["after_verdicts"][2] == ["scored"] * 6
    assert by_moment["before_updates"][2:] == ((6,), "GroupStandardised")
    assert by_moment["after_advantages"][2:] == (["rollouts"], 6)
    assert CALLS[-1] == ("at_end", "finished", 2)
    assert Failing.calls == 1  # removed after its first failure


class Measures(fg.Callback):
    def metrics(self):
        return {"mine": 2}


def test_metrics_of_callbacks_join_the_line_and_replace_nothing():
    messages: list[str] = []
    callbacks = Callbacks([Measures(), Measures()], messages.append)
    assert callbacks.metrics({"loss": 1.0}) == {"mine": 2.0}
    assert messages == [
        "callback 'Measures': metrics returned 'mine', which the line of the step has: choose another name; it is "
        "dropped, the run continues"
    ]
    assert callbacks.metrics({"mine": 1.0}) == {}
    assert callbacks.metrics({}) == {}
    assert len(messages) == 2


def test_a_failure_is_reported_with_the_plugin_and_the_event():
    messages: list[str] = []
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("callback", "failing", Failing, "thirdparty:plugin"))
        callbacks = Callbacks([fg.get_callback("failing")], messages.append)
        callbacks.call("after_verdicts", 1, [])
        callbacks.call("after_verdicts", 2, [])
    assert messages == [
        "callback 'failing' of plugin thirdparty:plugin failed in after_verdicts: KeyError: 'oops'; "
        "it is dropped, the run continues"
    ]


def test_a_fatal_callback_stops_the_run():
    class Strict(Failing):
        fatal = True

    with pytest.raises(fg.PluginError, match="callback 'Strict' failed in after_verdicts: KeyError: 'oops'"):
        Callbacks([Strict()], print).call("after_verdicts", 1, [])


def test_a_callback_that_exits_is_removed_like_any_other():
    class Exits(fg.Callback):
        def after_step(self, step, metrics):
            raise SystemExit(3)

    messages = []
    callbacks = Callbacks([Exits()], messages.append)
    callbacks.call("after_step", 1, {})
    callbacks.call("after_step", 2, {})
    assert len(messages) == 1
    assert "callback 'Exits' failed in after_step: SystemExit: 3" in messages[0]
