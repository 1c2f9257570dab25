"""Return values of plugins are checked: wrong types and values are refused with the plugin's name."""

from __future__ import annotations

import re

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.rollouts.scoring import score_checked

TASK = fg.Task("ab>", "ba")


class Env(fg.TextEnv):
    answer: object = None

    def tasks(self, split):
        return [TASK if split == "train" else fg.Task("cd>", "dc")]

    def score(self, task, response):
        return Env.answer() if callable(Env.answer) else Env.answer


@pytest.fixture
def env():
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("environment", "my/Env-v0", Env, "thirdparty:plugin"))
        yield fg.make("my/Env-v0")


WHO = "environment 'my/Env-v0' of plugin thirdparty:plugin"
NUMBER = f"{WHO}: a scored verdict needs a finite number as its score"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("1.0", f"{WHO} must return a Verdict, got '1.0'"),
        (0.5, f"{WHO} must return a Verdict, got 0.5"),
        (None, f"{WHO} must return a Verdict, got None"),
        (lambda: fg.Verdict.scored("1.0"), f"{NUMBER}, got '1.0'"),
        (
            lambda: fg.Verdict.scored(float("nan")),
            f"{NUMBER}, got nan",
        ),
        (lambda: fg.Verdict(0.0, "timeout"), f"{WHO}: a verdict of status timeout has no score, got 0.0"),
        (fg.Verdict.scored(1.5), f"{WHO} returned the score 1.5, outside its declared range [0.0, 1.0]"),
        (
            fg.Verdict.scored(1.0, help="much"),
            f"{WHO} returned the component 'help' = 'much', expected a finite number",
        ),
    ],
)
def test_rewards(env, answer, message):
    Env.answer = staticmethod(answer) if callable(answer) else answer
    env.reset(seed=0)
    with pytest.raises(fg.EnvError) as by_step:
        env.step("ba")
    with pytest.raises(fg.EnvError) as by_batch:
        score_checked(env, [TASK], ["ba"])
    assert str(by_step.value) == str(by_batch.value) == message


class NotFinite(fg.Divergence):
    slope_at_infinity = float("inf")
    wrong: object = None

    def generator(self, t):
        return (t - 1) ** 2

    def conjugate(self, s):
        return s + s**2 / 4

    def links(self):
        return {"fgan": fg.Link(positive=lambda v: torch.log(v), negative=lambda v: v.sum(), critic=torch.log)}


def loss_with(divergence, shift):
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    return fg.functional.f_grpo_loss(logps, logps.detach() + shift, torch.tensor([1.0, 0.0]), 2, divergence, beta=1.0)


def test_a_divergence_that_is_not_finite_is_named_with_the_value_of_v():
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("divergence", "mine", NotFinite, "thirdparty:plugin"))
        with pytest.raises(
            fg.PluginError,
            match=r"divergence 'mine' of plugin thirdparty:plugin: positive\(v\) = nan at v = -3",
        ):
            loss_with("mine", 3.0)
        with pytest.raises(
            fg.PluginError, match=r"negative\(v\) returned a tensor of shape \(\), expected the shape \(1,\)"
        ):
            loss_with("mine", -3.0)


def test_a_nan_of_the_policy_is_not_attributed_to_the_divergence():
    assert torch.isnan(loss_with("pearson", float("nan")))


class Scalar(fg.Advantage):
    def compute(self, groups):
        return groups.rewards.mean()


class Infinite(fg.Advantage):
    def compute(self, groups):
        return groups.rewards / 0.0


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (Scalar, r"advantage 'mine' of plugin thirdparty:plugin returned a tensor of shape \(\), expected .* \(2,\)"),
        (
            Infinite,
            r"advantage 'mine' of plugin thirdparty:plugin returned the advantage inf for a response of reward 1.0",
        ),
    ],
)
def test_advantages(advantage, message):
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("advantage", "mine", advantage, "thirdparty:plugin"))
        objective = fg.get_objective("f-grpo", advantage="mine")
        with pytest.raises(fg.PluginError, match=message):
            objective.prepare(fg.GroupBatch.of_equal_size(torch.tensor([1.0, 0.0]), 2), None)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (0.5, "must return an ObjectiveOutput, got float"),
        (fg.ObjectiveOutput(torch.zeros(2, requires_grad=True)), r"must return a scalar loss, got \(2,\)"),
        (fg.ObjectiveOutput("0.5"), "must return a scalar loss, got str"),
        (fg.ObjectiveOutput(torch.tensor(float("nan"), requires_grad=True)), "returned the loss nan"),
        (fg.ObjectiveOutput(torch.tensor(1.0)), "returned a loss without gradient"),
    ],
)
def test_objectives(loss, message):
    from fdiv_gym.registry import check_output

    class Mine(fg.Objective):
        pass

    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("objective", "mine", Mine, "thirdparty:plugin"))
        with pytest.raises(fg.PluginError, match=f"objective 'mine' of plugin thirdparty:plugin {message}"):
            check_output(fg.get_objective("mine"), loss)


def test_judges():
    class Mine(fg.Judge):
        async def judge(self, tasks, responses):
            return [fg.Verdict.scored(7.0) for _ in responses] if len(responses) == 1 else []

    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("judge", "mine", Mine, "thirdparty:plugin"))
        judge = fg.get_judge("mine")
        with pytest.raises(
            fg.JudgeError, match=r"judge 'mine' of plugin thirdparty:plugin returned the score 7\.0, outside"
        ):
            judge.judge_batch([TASK], ["a"])
        with pytest.raises(fg.JudgeError, match="returned 0 verdicts for 2 responses"):
            judge.judge_batch([TASK, TASK], ["a", "b"])


@pytest.mark.parametrize("fault", [OSError("no disk"), SystemExit(0)])
def test_a_plugin_that_cannot_be_built_is_named(fault):
    class Mine(fg.Verifier):
        def __init__(self, **options):
            raise fault

    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("verifier", "mine", Mine, "thirdparty:plugin"))
        with pytest.raises(
            fg.PluginError, match="verifier 'mine' of plugin thirdparty:plugin cannot be built: "
        ) as caught:
            fg.get_verifier("mine")
        assert f"{type(fault).__name__}: {fault}" in str(caught.value)


def test_a_scoped_environment_restores_the_registry_of_gymnasium(env):
    import gymnasium

    assert "my/Env-v0" in gymnasium.registry
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("environment", "my/Other-v0", Env, "thirdparty:plugin"))
        assert "my/Other-v0" in gymnasium.registry
    assert "my/Other-v0" not in gymnasium.registry


# ---- whole runs: the checks where the trainer calls plugins ----------------------------------


class Fine(fg.Curriculum, fg.TextEnv):
    def tasks(self, split):
        return [fg.Task(c + ">", c) for c in ("abcd" if split == "train" else "ef")]

    def score(self, task, response):
        return fg.Verdict.scored(float(len(response) % 2))

    def choose_tasks(self, count, seed):
        return list(self.task_list("train")[:count])

    def observe(self, outcomes): ...
    def load_state_dict(self, state): ...
    def state_dict(self):
        return {"level": 1}


class FineTalk(fg.ConversationEnv):
    default_turns = 2

    def tasks(self, split):
        return Fine().tasks(split)

    def begin(self, task):
        return Asks()

    def score(self, task, transcript):
        return fg.Verdict.scored(float(len(transcript.response) % 2))

    def demonstrations(self, count, rng):
        return Fine().demonstrations(count, rng)


class Asks(fg.Episode):
    def reply(self, response):
        return "again"


def begins(**members):
    """``begin`` with an episode that is right but for ``members``."""
    return lambda self, task: type("Faulty", (Asks,), members)()


class Plain(fg.Objective):
    needs_reference = False

    def prepare(self, groups, preferences):
        return {"rollouts": fg.Coefficients({"a": groups.rewards}, groups.scored)}

    def loss(self, stream, batch):
        return fg.ObjectiveOutput((batch.row("a") * batch.logps.sum(-1)).sum())


def broken(*arguments):
    raise RuntimeError("two\nlines")


FAULTY_RUNS = [
    ("env", {"tasks": lambda self, split: [{"prompt": "a"}]}, "tasks('train') must return Task objects, item 0 is"),
    ("talk", {"default_turns": "2"}, "max_turns must be a positive integer, got '2'"),
    ("talk", {"score_batch": lambda *arguments: None}, "score_batch must return a list of Verdict, got None"),
    ("env", {"score_batch": lambda *arguments: None}, "score_batch must return a list of Verdict, got None"),
    ("env", {"counters": lambda self: {"n": "x"}}, "returned the counter 'n' = 'x', expected a finite number"),
    ("env", {"counters": broken}, "failed in counters: RuntimeError: two lines"),
    ("env", {"metrics": broken}, "failed in metrics: RuntimeError: two lines"),
    ("env", {"demonstrations": lambda self, n, rng: [("a", None)] * n}, "item 0 is ('a', None)"),
    ("env", {"choose_tasks": lambda self, count, seed: []}, "choose_tasks(2) returned 0 tasks"),
    ("env", {"observe": broken}, "failed in observe: RuntimeError: two lines"),
    ("env", {"state_dict": lambda self: {"level": object()}}, "state_dict must return JSON values, 'level' = <object"),
    (
        "objective",
        {"prepare": lambda *arguments: []},
        "prepare must return a mapping of streams to Coefficients, got []",
    ),
    ("objective", {"prepare": broken}, "failed in prepare: RuntimeError: two lines"),
    ("objective", {"loss": lambda *arguments: 1.0}, "must return an ObjectiveOutput, got float"),
    ("objective", {"loss": broken}, "failed in loss: RuntimeError: two lines"),
    ("objective", {"at_step": broken}, "failed in at_step: RuntimeError: two lines"),
    ("engine", {"start": broken}, "failed in start: RuntimeError: two lines"),
    ("engine", {"generate": lambda *arguments: None}, "must return a list of completions for each prompt, got None"),
    ("engine", {"generate": broken}, "failed in generate: RuntimeError: two lines"),
    ("engine", {"update_weights": broken}, "failed in update_weights: RuntimeError: two lines"),
]


@pytest.mark.parametrize(("table", "members", "message"), FAULTY_RUNS)
def test_a_run_ends_with_one_line_that_names_the_plugin(table, members, message, tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    classes = {"env": Fine, "talk": FineTalk, "objective": Plain, "engine": type(fg.get_engine("transformers"))}
    kind = classes[table].kind
    classes[table] = type("Mine", (classes[table],), members)
    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        fg.train(one_step(classes, "talk" if table == "talk" else "env"), tmp_path / "run")
    assert str(caught.value).startswith(f"{kind} '{__name__}:Mine'")
    assert "\n" not in str(caught.value)


def one_step(classes, env="env"):
    return {
        "env": {"id": classes[env]},
        "model": {"embedded": {"layers": 1, "heads": 1, "warm_start_steps": 1, "warm_start_batch": 2}},
        "engine": {"name": classes["engine"], "max_new_tokens": 2},
        "objective": {"name": classes["objective"]},
        "trainer": {"steps": 1, "prompts_per_step": 2, "group_size": 2, "evaluate_tasks": 1},
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"begin": lambda *arguments: 42}, "begin must return an fdiv_gym.Episode, got 42"),
        ({"begin": begins(opening=broken)}, "failed in opening: RuntimeError: two lines"),
        ({"begin": begins(reply=lambda *arguments: 42)}, "reply must return a text, messages, a Reply or None, got 42"),
        ({"begin": begins(reply=broken)}, "failed in reply: RuntimeError: two lines"),
        ({"begin": begins(outcome=lambda self: {"a": object()})}, "outcome must hold JSON values"),
    ],
)
def test_episodes_that_all_fail_end_the_run_with_their_first_failure(members, message, tmp_path, monkeypatch):
    """A failing episode alone costs one verdict of status ``error``; more than ``max_unscored`` end the run."""
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    engine = type(fg.get_engine("transformers"))
    config = one_step({"env": type("Mine", (FineTalk,), members), "objective": Plain, "engine": engine})
    config["trainer"]["check_plugins"] = False
    with pytest.raises(fg.TrainerError, match=re.escape(message)) as caught:
        fg.train(config, tmp_path / "run")
    assert f"no score (trainer.max_unscored = 0.5): error: environment '{__name__}:Mine'" in str(caught.value)
    assert "\n" not in str(caught.value)
