"""The conformance kits find planted faults, each with a complete message."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from kit_assertions import assert_found

import fdiv_gym as fg
from fdiv_gym import testing

# ---- environments ---------------------------------------------------------------------------------


class Word(fg.TextEnv):
    """A correct environment; every fault below derives from it."""

    def tasks(self, split):
        words = ["ab", "cd", "ef", "gh"] if split == "train" else ["ij", "kl"]
        return [fg.Task(f"{word}>", word[::-1]) for word in words]

    def score(self, task, response):
        return fg.Verdict.scored(float(response == task.answer))


class SharedSplits(Word):
    def tasks(self, split):
        return [fg.Task("ab>", "ba"), fg.Task("cd>" if split == "train" else "ef>", "x")]


class FreshTasks(Word):
    def tasks(self, split):
        return [fg.Task(f"{split}{np.random.default_rng().integers(10**9)}", "a") for _ in range(4)]


class WrongReference(Word):
    def reference_response(self, task):
        return "never"


class RewardsGarbage(Word):
    def score(self, task, response):
        return fg.Verdict.scored(1.0)


class Raises(Word):
    def score(self, task, response):
        if not response.isprintable():
            raise ValueError("not printable")
        return super().score(task, response)


class Hangs(Word):
    def score(self, task, response):
        if len(response) > 50_000:
            time.sleep(60)
        return super().score(task, response)


class StringReward(Word):
    def score(self, task, response):
        return fg.Verdict.scored("1.0")


class TooHigh(Word):
    def score(self, task, response):
        return fg.Verdict.scored(2.0 * float(response == task.answer))


class OtherBatch(Word):
    def score_batch(self, tasks, responses):
        return [fg.Verdict.scored(0.0 if response else 1.0) for response in responses]


class Global(Word):
    def reset(self, *, seed=None, options=None):
        if not options:
            options = {"task": int(np.random.default_rng().integers(4))}
        return super().reset(seed=seed, options=options)


class Unpicklable(Word):
    def __init__(self, **options):
        super().__init__(**options)
        self.hook = lambda: None


class Slow(fg.Verifier):
    def verify(self, reference, response):
        return fg.Verdict.scored(float(reference == response))


class TimeoutIsZero(Word):
    def __init__(self, **options):
        super().__init__(**options)
        self.verifier = Slow()

    def score(self, task, response):
        return fg.Verdict.scored(self.verifier.verify(task.answer, response).score or 0.0)


class Leaks(Word):
    def demonstrations(self, count, rng):
        return [("ij>", "ji")] * count


def test_a_correct_environment_passes():
    report = testing.check_environment(Word())
    assert report.ok, report.text()
    assert len(report.checks) >= 25


@pytest.mark.parametrize(
    ("env", "check", "message"),
    [
        (SharedSplits, "splits", "1 tasks are in both splits"),
        (FreshTasks, "hashes", "two instances with equal options have different tasks in split 'train'"),
        (WrongReference, "reference_response", "the reference response 'never' got 0.0, expected the maximum 1.0"),
        (RewardsGarbage, "rejects_invalid", "task 'ab>': an empty answer got 1.0, expected 0.0"),
        (Raises, "hostile", "nul ('a\\x00b'): ValueError: not printable; expected a Verdict"),
        (
            Hangs,
            "hostile",
            "very long ('1111111111111111111111111111111111111...'): TimeoutError: no result within 1 s",
        ),
        (StringReward, "hostile", "a scored verdict needs a finite number as its score, got '1.0'"),
        (TooHigh, "reference_response", "returned the score 2.0, outside its declared range [0.0, 1.0]"),
        (OtherBatch, "batch", "score() returned 1.0, score_batch() 0.0"),
        (Global, "seeding", "reset(seed=7) twice produced different tasks"),
        (Unpicklable, "pickle", "raised"),
        (
            TimeoutIsZero,
            "unscorable",
            "when its verifier in .verifier returned no score, a response went from 1.0 to 0.0",
        ),
        (Leaks, "demonstrations", "a demonstration contains the held-out prompt 'ij>'"),
    ],
)
def test_faults_of_environments(env, check, message):
    report = testing.check_environment(env(), seconds=1)
    assert_found(report, check, message)


# ---- verifiers ------------------------------------------------------------------------------------


class Exact(fg.Verifier):
    def verify(self, reference, response):
        if not reference.strip():
            return fg.Verdict.unscorable("no reference")
        return fg.Verdict.scored(float(response == reference))

    def fixtures(self):
        return [
            fg.Fixture("full", "4", "4", 1.0, "equal"),
            fg.Fixture("zero", "4", "5", 0.0, "other"),
            fg.Fixture("malformed", "", "4", None, "no reference"),
            fg.Fixture("adversarial", "4", "1 2 3 4", 0.0, "all of them"),
            fg.Fixture("determinism", "4", "4", 1.0, "twice"),
        ]


class NoFixtures(Exact):
    def fixtures(self):
        return super().fixtures()[:3]


class Lenient(Exact):
    def verify(self, reference, response):
        return fg.Verdict.scored(float(reference in response))


class Alternating(Exact):
    calls = 0

    def verify(self, reference, response):
        Alternating.calls += 1
        return fg.Verdict.scored(float(Alternating.calls % 2))


class RaisesOnSurrogates(Exact):
    def verify(self, reference, response):
        (reference + response).encode()
        return super().verify(reference, response)


def test_a_correct_verifier_passes_and_is_measured():
    report = testing.check_verifier(Exact())
    assert report.ok, report.text()
    assert report.metrics["false_positive_rate"] == 0
    assert report.metrics["false_negative_rate"] == 0
    assert report.metrics["timeout_rate"] == 0
    assert 0 < report.metrics["p50_ms"] <= report.metrics["p99_ms"] < 1000


@pytest.mark.parametrize(
    ("verifier", "check", "message"),
    [
        (NoFixtures, "fixtures", "fixtures() has no case of the kinds adversarial, determinism"),
        (Lenient, "verdicts", "adversarial '1 2 3 4' for '4' (all of them): got 1.0 (scored), expected 0.0"),
        (Alternating, "deterministic", "'4' was scored ['0.0', '1.0']"),
        (RaisesOnSurrogates, "hostile", "surrogate as response: UnicodeEncodeError"),
    ],
)
def test_faults_of_verifiers(verifier, check, message):
    assert_found(testing.check_verifier(verifier(), seconds=5), check, message)


def test_the_false_positive_rate_is_that_of_wrong_responses():
    # Of the fixtures that must not get the maximum (zero, malformed, adversarial) two do.
    assert testing.check_verifier(Lenient()).metrics["false_positive_rate"] == pytest.approx(2 / 3)


# ---- judges ---------------------------------------------------------------------------------------


class Length(fg.Judge):
    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(min(len(r), 100) / 100) for r in responses]


class OutOfRange(Length):
    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(float(len(r))) for r in responses]


class Short(Length):
    async def judge(self, tasks, responses):
        return (await super().judge(tasks, responses))[:1]


class Varying(Length):
    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(float(x)) for x in np.random.default_rng().random(len(responses))]


class Fragile(Length):
    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(1 / len(r) if len(r) < 1e6 else 0) for r in responses]


def test_a_correct_judge_passes():
    task = fg.Task("x")
    assert testing.check_judge(Length(), [(task, "longer", "short")]).ok


@pytest.mark.parametrize(
    ("judge", "check", "message"),
    [
        (OutOfRange, "verdicts", "judge 'OutOfRange' returned the score 31.0, outside its declared range [0.0, 1.0]"),
        (Short, "verdicts", "judge() returned 1 verdicts for 3 responses"),
        (Varying, "deterministic", "the same responses were scored"),
        (Fragile, "hostile", "empty (''): ZeroDivisionError"),
        (Length, "order", "'a' got 0.01 and 'bcd' got 0.03, expected the first above"),
    ],
)
def test_faults_of_judges(judge, check, message):
    assert_found(testing.check_judge(judge(), [(fg.Task("x"), "a", "bcd")]), check, message)


# ---- engines --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine_class():
    return type(fg.get_engine("transformers"))


def changed(engine_class, change):
    """The transformers engine with every completion passed through ``change``."""

    class Changed(engine_class):
        def generate(self, prompts, n, sampling):
            return [[change(c, self) for c in group] for group in super().generate(prompts, n, sampling)]

    return Changed()


def test_faults_in_completions(engine_class):
    def shifted(c, engine):
        return replace(c, logprobs=tuple(p - 0.5 for p in c.logprobs))

    def mute(c, engine):
        return replace(c, stop_reason="length")

    def hot(c, engine):
        return replace(c, logprobs=tuple(math.nan for _ in c.logprobs))

    for change, check, message in (
        (shifted, "log-probs", "log-probs are up to 0.5 nats away from a forward pass, allowed 0.001"),
        (mute, "stop-reason", "with the end token, expected 'eos'"),
        (hot, "samples", "returned the log-prob nan, expected a finite number of at most 0"),
    ):
        assert_found(testing.check_engine(changed(engine_class, change)), check, message)


def test_faults_in_sampling(engine_class):
    class OneSeed(engine_class):
        def generate(self, prompts, n, sampling):
            return super().generate(prompts, n, replace(sampling, seed=3))

    class Copies(engine_class):
        def generate(self, prompts, n, sampling):
            return [group * n for group in super().generate(prompts, 1, sampling)]

    class Warm(engine_class):
        """Draws at another temperature and reports the log-probs of the right one."""

        def generate(self, prompts, n, sampling):
            groups = super().generate(prompts, n, replace(sampling, temperature=sampling.temperature * 2 or 0.0))
            if sampling.max_new_tokens > 1:
                return groups
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([list(prompts[0])])).logits[0, -1]
            logps = logits.log_softmax(-1)
            return [[replace(c, logprobs=(float(logps[c.token_ids[0]]),)) for c in g] for g in groups]

    assert_found(testing.check_engine(OneSeed()), "seed", "seeds 1 and 2 produced the same completions")
    assert_found(testing.check_engine(Copies()), "seed", "n is not n independent draws")
    assert_found(
        testing.check_engine(Warm()),
        "distribution",
        "the tokens are not drawn from the distribution of their log-probs",
    )


def test_faults_in_weights_and_refusals(engine_class):
    class Deaf(engine_class):
        def update_weights(self, weights):
            pass

    class Greedy(engine_class):
        def _check(self, prompts, n, sampling):
            pass

    report = testing.check_engine(Deaf())
    assert_found(report, "weights", "nats away from the new weights")
    assert_found(report, "refusals", "a weight of an unknown name was accepted, expected an EngineError")


# ---- small kinds ----------------------------------------------------------------------------------


class Raw(fg.Advantage):
    def compute(self, groups):
        return groups.rewards


class Uncentred(fg.Advantage):
    def compute(self, groups):
        return groups.rewards.nan_to_num() - 0.3


class Backwards(fg.Advantage):
    def compute(self, groups):
        return -fg.get_advantage("mean-centred").compute(groups)


@pytest.mark.parametrize(
    ("advantage", "check", "message"),
    [
        (Raw, "form", "advantage 'Raw' returned the advantage nan for a response of reward nan, expected a"),
        (Uncentred, "equal", "where all rewards are 0.1 an advantage is"),
        (Uncentred, "unscored", "a response without a score got"),
        (Backwards, "order", "rewards [0.0, 1.0, 0.25, 0.5] got advantages"),
    ],
)
def test_faults_of_advantages(advantage, check, message):
    assert_found(testing.check_advantage(advantage()), check, message)


class Forgets(fg.Advantage):
    """Its factor grows with the steps, and is in no state."""

    factor = 1.0

    def at_step(self, step, steps):
        self.factor += step

    def compute(self, groups):
        return self.factor * fg.get_advantage("mean-centred").compute(groups)


class KeepsOnly(Forgets):
    def state_dict(self):
        return {"factor": self.factor}


class Remembers(KeepsOnly):
    def load_state_dict(self, state):
        self.factor = state["factor"]


class KeepsTensor(Remembers):
    def state_dict(self):
        return {"factor": torch.tensor(self.factor)}


def test_faults_of_the_states_of_advantages():
    assert testing.check_advantage(Remembers()).ok
    assert_found(testing.check_advantage(Forgets()), "state", "state_dict must hold what at_step changed")
    found = testing.check_advantage(KeepsOnly())
    assert_found(found, "state", "an estimator that took the state {'factor': 16.0} has the state {'factor': 1.0}")
    assert_found(testing.check_advantage(KeepsTensor()), "state", "must return JSON values, 'factor' = tensor(16.)")


class PerResponse(fg.Aggregation):
    def weights(self, lengths, shares):
        return shares / lengths


class Undeclared(fg.Aggregation):
    def weights(self, lengths, shares):
        return torch.ones_like(shares) / lengths.sum().clamp(min=1)


def test_faults_of_aggregations():
    assert_found(testing.check_aggregation(PerResponse()), "empty", "empty responses got the weights [inf")
    assert_found(testing.check_aggregation(Undeclared()), "counts-tokens", "set counts_tokens = True")


class WrongArguments(fg.Callback):
    def after_step(self, step):
        pass


class WrongEvent(fg.Callback):
    def after_rollout(self, step, groups):
        pass


def test_faults_of_callbacks():
    report = testing.check_callback(WrongArguments())
    assert_found(report, "arguments", "after_step(step) cannot be called with (step, metrics)")
    assert_found(testing.check_callback(WrongEvent()), "events", "after_rollout is not an event of a run; known: ")


class WrongPanels(fg.Callback):
    """Returns what no report can show."""

    returned: object = None

    def panels(self):
        return self.returned


FIGURE = fg.PanelFigure("a", "b", {"c": [(1, "d")]})
TABLE = fg.PanelTable("a", ["b", "c"], [["d"]])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "panels must return a sequence of Panel, got None"),
        ([{"title": "a"}], "panels must return a sequence of Panel, got [{'title': 'a'}]"),
        ([fg.Panel(3)], "panels returned what is no figure or table: expected a text, got 3"),
        ([fg.Panel("a", [FIGURE])], "panels returned what is no figure or table: could not convert string to float"),
        ([fg.Panel("a", [], [TABLE])], "the table 'a' has rows of another length than its columns"),
        (
            [fg.Panel("a", ["figure"])],
            "no figure or table: expected a PanelFigure, got 'figure'",
        ),
    ],
)
def test_faults_of_panels(returned, message):
    callback = WrongPanels()
    callback.returned = returned
    assert_found(testing.check_callback(callback), "panels", message)


class Measures(fg.Callback):
    returned: object = None

    def metrics(self):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "metrics must return a mapping of names to numbers, got None"),
        ({"a": math.nan}, "metrics returned 'a' = nan, expected a finite number"),
        ({"a": "1"}, "metrics returned 'a' = '1', expected a finite number"),
        ({3: 1.0}, "metrics returned 3 = 1.0, expected a finite number"),
        ({"step": 1}, "metrics returned 'step', which the line of the step has: choose another name"),
    ],
)
def test_faults_of_the_metrics_of_callbacks(returned, message):
    callback = Measures()
    callback.returned = returned
    assert_found(testing.check_callback(callback), "metrics", message)
    callback.returned = {"a": np.float64(0.5)}
    assert testing.check_callback(callback).ok


class Counts(fg.Callback):
    """Keeps its count, which nothing restores."""

    count = 3

    def state_dict(self):
        return {"count": self.count}


class Recounts(Counts):
    def load_state_dict(self, state):
        self.count = state["count"]


class KeepsSet(Counts):
    def state_dict(self):
        return {"count": {3}}


def test_faults_of_the_states_of_callbacks():
    counted, restored = Counts(), Recounts()
    counted.count = restored.count = 4
    assert testing.check_callback(restored).ok
    message = "a new callback with the same options that took the state {'count': 4} has the state {'count': 3}"
    assert_found(testing.check_callback(counted), "state", message)
    assert_found(testing.check_callback(KeepsSet()), "state", "must return JSON values, 'count' = {3}")
