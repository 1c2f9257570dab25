"""Runs with a planted fault say so by the event's name, on the first step where it can show; sound runs are quiet."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
import torch
from events_harness import Letters, run

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, SUMMARY, TRAINING_EVENTS, RunFolder, event_policies, write_report
from fdiv_gym_accelerate import parts as parts_module
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.reference import Copy

Rloo = type(fg.get_objective("rloo"))
MANY = {"prompts_per_step": 16, "group_size": 2}


class WithoutEffect(Rloo):
    """The loss has a derivative, which is 0."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return dataclasses.replace(output, loss=output.loss * 0.0)


class WrongSign(Rloo):
    """Descent on this loss lowers the better responses."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return dataclasses.replace(output, loss=-output.loss)


class Greedy(Rloo):
    """Raises every sampled response, whatever its reward."""

    def prepare(self, groups, preferences):
        (found,) = super().prepare(groups, preferences).values()
        return {"rollouts": dataclasses.replace(found, active=torch.ones_like(found.active))}

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return dataclasses.replace(output, loss=-batch.tokens(batch.logps).mean())


class Overflows(Rloo):
    """From the second step on the gradient is not finite."""

    step = 0

    def at_step(self, step, steps):
        self.step = step

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        bad = (0 * batch.logps.sum()).sqrt() if self.step == 2 else 0.0
        return dataclasses.replace(output, loss=output.loss + bad)


class ByTask(Letters):
    """The reward does not depend on the response."""

    def score(self, task, response):
        return fg.Verdict.scored(float(task.prompt < "f"))


class NeverRight(Letters):
    """No response is right."""

    def score(self, task, response):
        return fg.Verdict.scored(0.0)


class Rare(Letters):
    """The policy's usual responses score 0."""

    def score(self, task, response):
        return fg.Verdict.scored(float(response[:1] >= "m"))


class Vanishing(Letters):
    """After ten steps of 32 responses more and more of them have no score."""

    count = 0

    def score(self, task, response):
        self.count += 1
        if self.count > 320 and self.count % 3 == 0:
            return fg.Verdict.unscorable("gone")
        return super().score(task, response)


def test_sound_runs_are_quiet(tmp_path):
    found = run(tmp_path, 12, objective="f-grpo", learning_rate=1e-3)
    assert (found.names, found.error, found.summary["status"], found.summary["events"]) == (set(), "", "finished", {})


def test_no_gradient_although_groups_are_mixed(tmp_path):
    found = run(tmp_path, 2, objective=WithoutEffect)
    assert found.at("no_gradient") == [1, 2]
    assert [line["updates/count"] for line in found.lines] == [0, 0]
    record = found.first("no_gradient")
    assert record["policy"] == "warn"
    assert f"although {record['mixed']} of 4 groups have different rewards" in record["message"]
    assert found.summary["events"] == {"no_gradient": {"policy": "warn", "count": 2, "first_step": 1, "last_step": 2}}


def test_the_wrong_sign(tmp_path):
    found = run(tmp_path, 2, objective=WrongSign)
    assert found.at("wrong_sign") == [1]
    assert found.first("wrong_sign")["direction"] == pytest.approx(-1)
    assert "direction -1.00, where 1 is right" in found.first("wrong_sign")["message"]


def test_the_wrong_sign_can_stop_the_run(tmp_path):
    found = run(tmp_path, 2, objective=WrongSign, events={"wrong_sign": "stop"})
    assert found.error.startswith("step 1: wrong_sign: the loss lowers responses above their group's mean")
    assert (len(found.lines), found.summary["status"], found.summary["steps"]) == (1, "stopped", 1)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    ignored = run(tmp_path / "other", 2, objective=WrongSign, events={"wrong_sign": "ignore"})
    assert (ignored.names, ignored.summary["events"]) == (set(), {})


def test_equal_groups_and_a_constant_reward(tmp_path):
    found = run(tmp_path, 10, env=NeverRight, **MANY)
    assert {name: found.at(name) for name in found.names} == {"equal_groups": [10]}
    assert all(line["updates/count"] == 0 for line in found.lines)
    found = run(tmp_path / "task", 10, env=ByTask, **MANY)
    assert {name: found.at(name) for name in found.names} == {"constant_reward": [10]}
    assert "the reward seems not to depend on the response" in found.first("constant_reward")["message"]


def test_a_share_of_unscored_responses_that_rises(tmp_path):
    found = run(tmp_path, 18, env=Vanishing, prompts_per_step=8)
    assert found.at("unscored_rising")[0] in (14, 15, 16)
    assert "of the responses had no score, at the start 0." in found.first("unscored_rising")["message"]


def test_the_entropy_collapses(tmp_path):
    found = run(tmp_path, 20, env=Rare, objective=Greedy, learning_rate=0.1)
    steps = found.at("entropy_collapse")
    assert steps == list(range(steps[0], 21))
    assert steps[0] >= 11  # the window is full at step 10
    record = found.first("entropy_collapse")
    assert record["entropy"] < 0.02 * record["entropy_at_start"]


def test_a_learning_rate_that_is_too_high_without_a_reference(tmp_path):
    found = run(tmp_path, 12, learning_rate=1.0)  # deterministic from the third step on
    assert "entropy_collapse" in found.names


@pytest.mark.parametrize(
    ("rate", "name", "steps"),
    [(1.0, "divergence_explodes", [5]), (1e4, "no_gradient", [2, 3, 4, 5]), (1e30, "nonfinite_weights", [1])],
)
def test_learning_rates_that_are_too_high(rate, name, steps, tmp_path):
    found = run(tmp_path, 5, objective="f-grpo", learning_rate=rate)
    assert found.at(name) == steps
    assert bool(found.error) == (name == "nonfinite_weights")
    if found.error:
        assert "the policy's log-probs are not finite (its largest weight is 1e+30)" in found.error


def test_a_gradient_that_is_not_finite_stops_before_the_update(tmp_path):
    found = run(tmp_path, 3, objective=Overflows)
    assert (found.at("nonfinite"), [line["updates/count"] for line in found.lines]) == ([2], [1, 0])
    assert found.lines[1]["grad_norm"] is None
    assert found.error.startswith("step 2: nonfinite: the gradient is not finite (norm nan, loss")
    found = run(tmp_path / "skip", 3, objective=Overflows, events={"nonfinite": "skip"})
    assert (found.error, [line["updates/count"] for line in found.lines]) == ("", [1, 0, 1])


def with_policy(monkeypatch, change):
    """Let ``change`` replace the policy that a run loads."""
    load = parts_module.load_policy
    monkeypatch.setattr(parts_module, "load_policy", lambda *args, **kwargs: change(load(*args, **kwargs)))


def test_log_probs_that_an_update_of_the_step_broke_are_not_the_objectives_fault(tmp_path):
    found = run(tmp_path, 2, learning_rate=1e30, updates_per_rollout=2)
    assert found.error.startswith("step 1: nonfinite: the gradient is not finite (norm 0.0, loss nan)")
    assert (found.names, found.lines[0]["updates/count"]) == ({"nonfinite", "nonfinite_weights"}, 1)


def test_a_reference_that_is_the_policy(tmp_path, monkeypatch):
    with_policy(monkeypatch, lambda policy: dataclasses.replace(policy, reference=Copy(policy.model)))
    found = run(tmp_path, 2, objective="f-grpo")
    assert found.at("reference_tied") == [1, 2]
    assert "of the reference's weights lie in the policy's memory" in found.first("reference_tied")["message"]


def test_a_reference_that_follows_the_policy(tmp_path, monkeypatch):
    class Copies(fg.Callback):
        def after_step(self, step, metrics):
            if step == 2:
                self.reference.module.load_state_dict(self.model.state_dict())

    def keep(policy):
        Copies.reference, Copies.model = policy.reference, policy.model
        return policy

    with_policy(monkeypatch, keep)
    found = run(tmp_path, 3, objective="f-grpo", callbacks=[Copies])
    assert found.at("reference_tied") == [3]
    assert "the reference's weights changed" in found.first("reference_tied")["message"]


def test_weights_that_are_not_finite(tmp_path, monkeypatch):
    class Breaks(fg.Callback):
        def after_advantages(self, step, coefficients):
            if step == 2:  # the embedding of a token that does not occur
                self.model.get_input_embeddings().weight.data[2, 0] = float("nan")

    def keep(policy):
        Breaks.model = policy.model
        return policy

    with_policy(monkeypatch, keep)
    found = run(tmp_path, 3, callbacks=[Breaks])
    assert found.at("nonfinite_weights") == [2]
    assert "1 weights of the policy are not finite, the first is model.embed_tokens.weight" in found.error


def test_log_probs_that_are_not_finite_take_no_update(tmp_path, monkeypatch):
    class Spoils(fg.Callback):
        def after_verdicts(self, step, groups):
            if step == 2:
                trajectory = groups[0].trajectories[0]
                object.__setattr__(trajectory, "logprobs", (*trajectory.logprobs[:-1], float("nan")))

    found = run(tmp_path, 3, callbacks=[Spoils])
    assert (found.at("nonfinite"), found.lines[-1]["updates/count"]) == ([2], 0)
    assert " log-probs of sampled tokens are not finite: the policy's logits overflow" in found.error


def test_a_resumed_run_notices_the_same(tmp_path):
    class Dies(fg.Callback):
        fatal = True

        def before_rollouts(self, step):
            if step == 8 and self.armed:
                type(self).armed = False
                raise RuntimeError("killed")

    kept = {"env": ByTask, "checkpoint_every": 6, **MANY}
    Dies.armed = False
    whole = run(tmp_path / "whole", 12, callbacks=[Dies], **kept)
    Dies.armed = True
    assert "killed" in run(tmp_path / "cut", 12, callbacks=[Dies], **kept).error
    resumed = run(tmp_path / "cut", 12, callbacks=[Dies], resume=True, **kept)
    assert whole.at("constant_reward") == resumed.at("constant_reward") == [10, 11, 12]
    assert whole.summary["events"] == resumed.summary["events"]

    def untimed(lines):
        return [
            {key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))} for line in lines
        ]

    assert untimed(whole.lines) == untimed(resumed.lines)


def test_warnings_are_printed_at_the_first_tenth_and_hundredth_occurrence():
    said = []
    log = EventLog(event_policies({}), said.append)
    for step in range(1, 121):
        log.report("equal_groups", "all equal", share=1.0)
        log.report("equal_groups", "a second one of the same step", share=0.5)
        log.report("saturated", "at the best")
        assert [record["share"] for record in log.records(step) if "share" in record] == [1.0]
        log.end_step(step)
    assert said == [
        "step 1: warn equal_groups: all equal",
        "step 10: warn equal_groups: all equal (noticed at 10 steps)",
        "step 100: warn equal_groups: all equal (noticed at 100 steps)",
    ]
    assert log.table()[1:] == [
        "  warn  equal_groups         120 steps, from 1 to 120",
        "  info  saturated            120 steps, from 1 to 120",
    ]
    other = EventLog(event_policies({}), said.append)
    other.load_state_dict(log.state_dict())
    assert other.summary() == log.summary()


def test_an_event_of_one_process_is_everybodys(monkeypatch):
    logs = [EventLog(event_policies({"engine_gap": "skip"}), print, several=True) for _ in range(2)]
    logs[1].report("engine_gap", "far", gap=3.0)
    pending = [dict(log._pending) for log in logs]
    monkeypatch.setattr("fdiv_gym_accelerate.events.gather_object", lambda mine: [*pending])
    assert [log.agree() for log in logs] == [False, False]
    pending = [{}, {}]
    assert [log.records(1) for log in logs] == [
        [{"name": "engine_gap", "policy": "skip", "message": "far", "gap": 3.0}]
    ] * 2
    for log in logs:
        log.end_step(1)
        assert log.agree()


def test_policies_name_the_near_miss(tmp_path):
    with pytest.raises(fg.ConfigError, match=r"there is no event 'wrong_sing' \(did you mean 'wrong_sign'"):
        event_policies({"wrong_sing": "warn"})
    with pytest.raises(fg.ConfigError, match="event 'nonfinite_weights' takes one of stop, not 'warn'"):
        event_policies({"nonfinite_weights": "warn"})
    with pytest.raises(fg.ConfigError, match=r"'events'.*event 'wrong_sign' takes one of ignore, info, warn, stop"):
        fg.get_trainer("accelerate", events={"wrong_sign": "skip"})
    stops = {name for name, policy in event_policies({}).items() if policy in ("skip", "stop")}
    assert stops == {"engine_gap", "engine_text", "nonfinite", "nonfinite_weights"}
    assert all(kind.default in kind.allowed for kind in TRAINING_EVENTS.values())


def test_the_report_lists_the_events(tmp_path):
    pytest.importorskip("matplotlib")
    run(tmp_path, 3, objective=WrongSign)
    folder = RunFolder(tmp_path / "run")
    record = {
        "step": 4,
        "events": [{"name": "<b>x</b>", "policy": "warn", "message": "\x1b]0;"}, "no record", {"a": 1}],
    }
    with (folder.path / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    page = write_report(folder.path).read_text(encoding="utf-8")
    assert "<h2>Events</h2>" in page
    assert "<td>wrong_sign</td>" in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "\x1b" not in page
    assert folder.read_json(SUMMARY)["events"]["wrong_sign"]["count"] == 1


def test_a_step_without_signal_moves_no_weight_even_with_gradients_of_zero(tiny, groups):
    """Several processes sum gradients that are zero, not absent: momentum and weight decay would act on them."""
    from updates_harness import make_updates, scored, weights_of

    from fdiv_gym_accelerate.minibatches import StepRows
    from fdiv_gym_accelerate.streams import rollout_stream

    def rows(chosen):
        return StepRows({"rollouts": rollout_stream(chosen, tiny[1].pad_token_id)}, chosen)

    model = copy.deepcopy(tiny[0])
    updates = make_updates(fg.get_objective("rloo"), model, None)
    reduce = updates.updater._reduce

    def reduced(result):
        reduce(result)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

    updates.updater._reduce = reduced
    for group in updates.optimizer.param_groups:
        group["weight_decay"] = 0.1
    before = weights_of(model)
    assert updates.run(1, rows(groups))["updates/count"] == 1
    after = weights_of(model)
    assert not torch.equal(before, after)
    line = updates.run(2, rows([scored(group, [1.0] * 8) for group in groups]))
    assert (line["updates/count"], line["grad_norm"], line["loss"]) == (0, 0, 0)
    assert torch.equal(weights_of(model), after)
