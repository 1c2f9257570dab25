"""Every fault of a plugin is reported on one line with its name; one section for each kind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from faulty_plugins import MESSAGE, TASK, WHO, Env, Says, Talk, an, fails, gives, one_line, talk

import fdiv_gym as fg
from fdiv_gym.envs import active_curriculum
from fdiv_gym.registry import guard
from fdiv_gym.rollouts import score_checked
from fdiv_gym.runs import RunFolder
from fdiv_gym.types import Completion, Sampling

DONE = Completion((5, 6), (-0.5, -0.25), "x", "eos")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class CustomError(fg.FdivGymError):
    """An error class of a plugin, with another constructor."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\nlines"), f"{WHO} failed in CALL: ValueError: two lines"),
        (KeyError("x"), f"{WHO} failed in CALL: KeyError: 'x'"),
        (SystemExit(3), f"{WHO} failed in CALL: SystemExit: 3"),
        (RuntimeError(), f"{WHO} failed in CALL: RuntimeError"),
        (UnprintableError(), f"{WHO} failed in CALL: UnprintableError"),
        (fg.ConfigError("set x"), f"{WHO}: set x"),
        (CustomError(3, "I refuse"), f"{WHO}: I refuse (3)"),
    ],
)
def test_any_exception_becomes_one_line(error, message):
    env = an(Env, score=fails(error))
    env.reset()
    with pytest.raises(fg.FdivGymError) as caught:
        env.step("x")
    assert one_line(caught.value) == message.replace("CALL", "score")
    env = talk(reply=fails(error))
    env.reset()
    verdict = env.step("x")[4]["verdict"]
    line = fails(error).__code__.co_firstlineno + 1
    assert verdict == fg.Verdict.error(f"{message.replace('CALL', 'reply')} (faulty_plugins.py, line {line})")


def test_a_very_long_cause_is_cut():
    env = an(Env, score=fails(ValueError("x" * 10_000)))
    env.reset()
    with pytest.raises(fg.PluginError) as caught:
        env.step("x")
    one_line(caught.value)
    env = talk(reply=fails(ValueError("x" * 10_000)))
    env.reset()
    assert len(env.step("x")[4]["verdict"].detail) < 600


def test_ctrl_c_is_passed_on():
    for env in (
        an(Env, score=fails(KeyboardInterrupt())),
        talk(reply=fails(KeyboardInterrupt())),
        an(Talk, score=fails(KeyboardInterrupt()), default_turns=1),
    ):
        env.reset()
        with pytest.raises(KeyboardInterrupt):
            env.step("x")
    for members in (
        {"begin": fails(KeyboardInterrupt())},
        {"begin": gives(an(Says, opening=fails(KeyboardInterrupt())))},
    ):
        with pytest.raises(KeyboardInterrupt):
            an(Talk, **members).reset()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"tasks": gives([{"prompt": "a"}])}, "tasks('train') must return Task objects, item 0 is {'prompt': 'a'}"),
        ({"tasks": gives(None)}, "tasks('train') must return a sequence of Task, got None"),
        ({"tasks": lambda self, split: (t for t in [TASK])}, "tasks('train') must return a sequence of Task, got <gen"),
        ({"tasks": gives("ab")}, "tasks('train') must return a sequence of Task, got 'ab'"),
        ({"tasks": gives([])}, "there are no tasks in split 'train'"),
        ({"tasks": fails(OSError("no file"))}, "failed in tasks('train'): OSError: no file"),
        ({"score": fails(ZeroDivisionError("by 0"))}, "failed in score: ZeroDivisionError: by 0"),
        ({"score": gives(1.0)}, "must return a Verdict, got 1.0"),
        ({"score": gives(fg.Verdict(1.0, components=[1]))}, "returned the components [1], expected a mapping"),
        ({"score": gives(fg.Verdict(1.0, components={1: 2.0}))}, "returned a component named 1, expected a string"),
        ({"score": gives(fg.Verdict(1.0, detail=3))}, "returned the detail 3, expected a string"),
        ({"score_range": (1.0, 0.0)}, "score_range must be (low, high) with low < high, got (1.0, 0.0)"),
        ({"score_range": None}, "score_range must be (low, high) with low < high, got None"),
    ],
)
@pytest.mark.parametrize("contract", [Env, Talk])
def test_an_episode(contract, members, message):
    env = an(contract, **members)

    def episode() -> None:
        env.reset()
        over = False
        while not over:
            *_, terminated, truncated, _ = env.step("x")
            over = terminated or truncated

    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        episode()
    assert one_line(caught.value).startswith(WHO)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "environment 'Mine': score_batch must return a list of Verdict, got None"),
        ((v for v in ()), "environment 'Mine': score_batch must return a list of Verdict, got <generator"),
        ([fg.Verdict.scored(1.0)], "environment 'Mine' returned 1 verdicts for 2 responses"),
        ([1.0, 2.0], "environment 'Mine' must return a Verdict, got 1.0"),
    ],
)
def test_a_batch_of_verdicts(given, message):
    with pytest.raises(fg.EnvError, match=re.escape(message)) as caught:
        score_checked(an(Env, score_batch=gives(given)), [TASK, TASK], ["a", "b"])
    one_line(caught.value)


def test_a_batch_that_raises_and_then_gives_nothing_for_one_pair_is_an_error():
    def score_batch(self, tasks, responses):
        if len(tasks) > 1:
            raise RuntimeError("too many")
        return []

    with pytest.raises(fg.EnvError, match="returned 0 verdicts for 1 responses"):
        score_checked(an(Env, score_batch=score_batch), [TASK, TASK], ["a", "b"])


@pytest.mark.parametrize(
    ("call", "members", "message"),
    [
        (guard.counters_of, {"counters": fails(KeyError("n"))}, "failed in counters: KeyError: 'n'"),
        (
            guard.counters_of,
            {"counters": gives({"n": "many"})},
            "returned the counter 'n' = 'many', expected a finite number",
        ),
        (guard.counters_of, {"counters": gives(None)}, "counters must return a mapping of names to numbers, got None"),
        (lambda e: guard.vote_of(e, TASK, "x"), {"vote": gives(3)}, "vote must return a string or None, got 3"),
        (lambda e: guard.metrics_of(e, []), {"metrics": gives({"a": float("nan")})}, "returned the metric 'a' = nan"),
        (lambda e: guard.metrics_of(e, []), {"metrics": gives(7)}, "metrics must return a mapping of names to numbers"),
    ],
)
def test_metrics_counters_and_votes(call, members, message):
    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        call(an(Env, **members))
    assert one_line(caught.value).startswith(WHO)


def test_counters_keep_their_type():
    counters = guard.counters_of(an(Env, counters=gives({"calls": 3, "cost": 0.5, "numpy": np.int64(4)})))
    assert counters == {"calls": 3, "cost": 0.5, "numpy": 4.0}
    assert [type(value) for value in counters.values()] == [int, float, float]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "demonstrations(2) must return a list of (prompt, response), got None"),
        ([("a", "b")], "demonstrations(2) returned 1 pairs"),
        ([("a", "b"), ("c", 3)], "item 1 is ('c', 3)"),
        (["ab", "cd"], "item 0 is 'ab'"),
        ([("a", "b", "c")] * 2, "item 0 is ('a', 'b', 'c')"),
        ([(MESSAGE,)] * 2, "must return pairs of strings (prompt, response) or conversations, item 0 is (Message("),
        ([(fg.Message("robot", "a"), fg.Message("assistant", "b"))] * 2, "returned a message of role 'robot'"),
    ],
)
def test_demonstrations(given, message):
    from fdiv_gym.models import EnvDemonstrations

    with pytest.raises(fg.EnvError, match=re.escape(message)) as caught:
        EnvDemonstrations(an(Env, demonstrations=gives(given))).draw(2, np.random.default_rng(0))
    assert one_line(caught.value).startswith(WHO)
    with pytest.raises(fg.PluginError, match=re.escape("failed in demonstrations: IndexError: none")):
        EnvDemonstrations(an(Env, demonstrations=fails(IndexError("none")))).draw(2, np.random.default_rng(0))


class Climbing(fg.Curriculum, Env):
    def choose_tasks(self, count: int, seed: int) -> Any:
        return [TASK] * count

    def observe(self, outcomes: Any) -> None: ...
    def state_dict(self) -> Any:
        return {"level": 1}

    def load_state_dict(self, state: Any) -> None: ...


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("call", "members", "message"),
    [
        (lambda e: guard.chosen_tasks_of(e, 2, 0), {"choose_tasks": gives([TASK])}, "choose_tasks(2) returned 1 tasks"),
        (lambda e: guard.chosen_tasks_of(e, 1, 0), {"choose_tasks": gives(["a"])}, "must return Task objects, item 0"),
        (lambda e: guard.chosen_tasks_of(e, 1, 0), {"choose_tasks": gives(None)}, "must return a sequence of Task"),
        (lambda e: guard.chosen_tasks_of(e, 1, 0), {"choose_tasks": fails(OSError("x"))}, "failed in choose_tasks(1)"),
        (lambda e: guard.observe_outcomes(e, []), {"observe": fails(KeyError("x"))}, "failed in observe: KeyError"),
        (guard.state_of, {"state_dict": gives({"level": {1, 2}})}, "must return JSON values, 'level' = {1, 2}"),
        (guard.state_of, {"state_dict": gives([1])}, "state_dict must return a mapping of names to values, got [1]"),
        (guard.state_of, {"state_dict": gives({1: 2})}, "state_dict must return a mapping of names to values"),
        (guard.state_of, {"state_dict": gives({"a": {1: 2}})}, "'a' = {1: 2} (TypeError: the key 1 is no string)"),
        (guard.state_of, {"state_dict": gives({"a": LOOP})}, "must return JSON values, 'a' = [[...]] (RecursionError"),
        (guard.state_of, {"state_dict": fails(TypeError("x"))}, "failed in state_dict: TypeError: x"),
        (
            lambda e: guard.restore_state(e, {}), {"load_state_dict": fails(KeyError("level"))},
            "failed in load_state_dict: KeyError: 'level'",
        ),
        (active_curriculum, {"adapts": property(fails(TypeError("x")))}, "failed in adapts: TypeError: x"),
    ],
)  # fmt: skip
def test_curricula(call, members, message):
    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        call(an(Climbing, **members))
    assert one_line(caught.value).startswith(WHO)


def test_an_error_of_a_verifier_in_an_environment_names_the_verifier(tmp_path):
    class Broken(fg.Verifier):
        def verify(self, reference, response):
            return 1.0

        def verify_batch(self, references, responses):
            return None

    (tmp_path / "problems.jsonl").write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "2+1", "answer": "3"}\n')
    env = fg.make("math/Dataset-v0", source=str(tmp_path), verifier=Broken, heldout_fraction=0.5)
    with pytest.raises(fg.VerifierError, match=r"Broken': verify_batch must return a list of Verdict, got None"):
        score_checked(env, [fg.Task("1+1", "2")], ["2"])
    with pytest.raises(fg.VerifierError, match=r"Broken' must return a Verdict, got 1\.0"):
        env.score(fg.Task("1+1", "2"), "2")


def test_an_error_of_a_judge_without_a_list_names_the_judge():
    class Broken(fg.Judge):
        async def judge(self, tasks, responses):
            return None

    env = fg.make("safety/Refusal-v0", judge=Broken)
    with pytest.raises(fg.JudgeError, match=r"Broken': judge must return a list of Verdict, got None"):
        score_checked(env, [TASK], ["x"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must return a list of completions for each prompt, got None"),
        ([DONE, DONE], "must return a list of completions for each prompt, got [Completion"),
        ([[DONE]], "returned [1] completions, expected 1 for each of 2 prompts"),
        ([[DONE], ["text"]], "must return Completion objects, got 'text'"),
        (
            [[DONE], [Completion((1.5,), (-1.0,), "x", "eos")]],
            "returned the token id 1.5, expected an integer of at least 0",
        ),
        (
            [[DONE], [Completion((-1,), (-1.0,), "x", "eos")]],
            "returned the token id -1, expected an integer of at least 0",
        ),
        (
            [[DONE], [Completion((True,), (-1.0,), "x", "eos")]],
            "returned the token id True, expected an integer of at least 0",
        ),
        ([[DONE], [Completion((1,), (-1.0,), b"x", "eos")]], "returned the text b'x', expected a string"),
        (
            [[DONE], [Completion((1,), (-1.0,), "x", "bored")]],
            "returned the stop_reason 'bored', expected 'eos' or 'length'",
        ),
        ([[DONE], [Completion((1, 2), (-1.0,), "x", "eos")]], "returned 2 tokens with 1 log-probs"),
        ([[DONE], [Completion((1,), (float("nan"),), "x", "eos")]], "returned the log-prob nan"),
        ([[DONE], [Completion((1,), (0.5,), "x", "eos")]], "returned the log-prob 0.5"),
        ([[DONE], [Completion(None, (0.5,), "x", "eos")]], "returned token_ids = None, expected a tuple"),
    ],
)
def test_engines(given, message):
    engine = an(fg.Engine, generate=gives(given))
    with pytest.raises(fg.EngineError, match=re.escape(message)) as caught:
        guard.completions_of(engine, [[1], [2]], 1, Sampling(4))
    assert one_line(caught.value).startswith("engine 'Mine'")


def test_an_engine_that_fails_is_named():
    engine = an(fg.Engine, generate=fails(RuntimeError("CUDA error:\nout of memory")))
    with pytest.raises(fg.PluginError, match="engine 'Mine' failed in generate: RuntimeError: CUDA error: out of"):
        guard.completions_of(engine, [[1]], 1, Sampling(4))


def test_numpys_integers_are_token_ids():
    given = [[Completion((np.int64(3),), (np.float32(-1.0),), "x", "length")]]
    assert guard.completions_of(an(fg.Engine, generate=gives(given)), [[1]], 1, Sampling(4)) is given
    assert isinstance(torch.tensor([np.int64(3)]), torch.Tensor)


class Stop(BaseException):
    """An exception that ``except Exception`` does not catch."""


def test_a_boundary_passes_on_only_interrupts():
    for error, text in ((Stop("now"), "Stop: now"), (SystemExit(3), "SystemExit: 3")):
        with pytest.raises(fg.PluginError, match=re.escape(f"environment 'Mine' failed in vote: {text}")):
            guard.vote_of(an(Env, vote=fails(error)), TASK, "x")
    with pytest.raises(KeyboardInterrupt):
        guard.vote_of(an(Env, vote=fails(KeyboardInterrupt())), TASK, "x")


def test_a_close_that_fails_is_a_warning(caplog):
    guard.close_plugin(an(Env, close=fails(Stop("open"))))
    assert [record.message for record in caplog.records] == ["environment 'Mine' failed in close: Stop: open"]


def test_the_culprit_is_the_innermost_plugin():
    class Inner(fg.Judge):
        @property
        def flag(self) -> int:
            return 1 // 0

    class Outer(Env):
        def ask(self) -> int:
            return Inner().flag

    with pytest.raises(ZeroDivisionError) as caught:
        Outer().ask()
    assert str(guard.culprit_of(caught.value)).startswith("judge ")
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 // 0
    assert guard.culprit_of(caught.value) is None


def test_a_scorer_that_raises_is_named_in_its_verdicts():
    (verdict,) = score_checked(an(Env, score=fails(ValueError("boom"))), [TASK], ["x"])
    assert verdict.status == "error"
    assert verdict.detail == "ValueError: boom (in environment 'Mine')"


@pytest.mark.parametrize("data", [{"o": {1}}, {"o": float("nan")}])
def test_tasks_whose_data_are_not_json_name_the_environment(data):
    with pytest.raises(fg.EnvError, match=r"^environment 'Mine': the data of a task must be JSON"):
        an(Env, tasks=gives([fg.Task("a", "b", data)])).task_list("train")


def test_a_lone_surrogate_is_replaced_before_a_tokenizer():
    env = an(Env, vote=gives("cut \ud83d"))
    with pytest.warns(UserWarning, match="environment 'Mine': reply: 1 text held lone surrogates"):
        assert guard.check_said(env, "reply", "cut \ud83d") == (fg.Message("user", "cut \ufffd"),)
    assert guard.check_outcome(env, {"said": ["\ud83d"]}) == {"said": ["\ufffd"]}
    engine = an(fg.Engine, generate=gives([[DONE], [Completion((1,), (-1.0,), "cut \ud83d", "eos")]]))
    with pytest.warns(UserWarning, match="engine 'Mine': 1 text held lone surrogates"):
        found = guard.completions_of(engine, [[1], [2]], 1, Sampling(4))
    assert [group[0].text for group in found] == ["x", "cut \ufffd"]
    assert fg.Task("cut \ud83d", "\ud800").prompt == "cut \ufffd"
    assert guard.vote_of(env, TASK, "x") == "cut \ud83d"


def test_a_lone_surrogate_can_be_written_and_read(tmp_path):
    run = RunFolder(tmp_path)
    run.append("samples.jsonl", {"response": "cut \ud83d"}, {"response": "é"})
    assert [line["response"] for line in run.lines("samples.jsonl")] == ["cut \ud83d", "é"]


def test_an_engine_must_give_a_sampling():
    with pytest.raises(fg.EngineError, match="engine 'Mine': sampling must return a Sampling, got 42"):
        guard.sampling_of(an(fg.Engine, sampling=gives(42)), 0)


def test_a_score_range_that_fails_is_named():
    class Ranged(Env):
        score_range = property(fails(KeyError("r")))  # type: ignore[assignment]

    with pytest.raises(fg.PluginError, match=r"failed in score_range: KeyError"):
        guard.score_range_of(Ranged())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2, requires_grad=True), "advantages that are with a gradient"),
        (torch.ones(2, dtype=torch.complex128), "advantages that are complex"),
    ],
)
def test_advantages_are_real_and_detached(values, message):
    advantage = an(fg.Advantage, compute=gives(values))
    groups = fg.GroupBatch.of_equal_size(torch.tensor([0.0, 1.0]), 2)
    with pytest.raises(fg.PluginError, match=message):
        fg.functional.group_advantages(groups.rewards, 2, advantage)


def test_a_missing_score_is_named():
    with pytest.raises(
        NotImplementedError, match=r"define score\(task, transcript\), which returns an fdiv_gym.Verdict"
    ):
        fg.ConversationEnv.score(talk(), fg.Task("x"), None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match=r"define score\(task, response\), which returns an fdiv_gym.Verdict"):
        fg.TextEnv.score(talk(), fg.Task("x"), "")  # type: ignore[arg-type]
