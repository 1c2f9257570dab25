"""Every key that runs and evaluations write has a meaning, and every documented key is written.

Real runs of two steps, for each objective and judge.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from docs_pages import ROOT

import fdiv_gym as fg
from fdiv_gym.evaluation import Plan, configure, evaluate
from fdiv_gym.evaluation.results import RESULTS
from fdiv_gym.registry import KINDS
from fdiv_gym.runs import EVALUATIONS, GLOSSARY, METRICS, RunFolder, meaning_of, meanings_of
from fdiv_gym.runs.config import RunConfig, parse_config

TINY = {"layers": 1, "heads": 1, "context": 64, "warm_start_steps": 2, "warm_start_batch": 4}
REFUSAL = {"path": str(ROOT / "examples" / "preferences" / "refusal.jsonl"), "pairs_per_step": 2}
RULES = [{"name": "rule"}, {"name": "rule", "measure": "length"}]
ADDITION = {"id": "math/Addition-v0", "digits": 1}


class Silent(fg.Judge):
    """Returns a score for every second response only, and counts what it is asked."""

    metric_meanings: ClassVar = {"total/asked": "Responses that the judge was asked about, a count."}
    asked = 0

    async def judge(self, tasks: Any, responses: Any) -> list[fg.Verdict]:
        self.asked += len(responses)
        return [fg.Verdict.unscorable("no reply") if i % 2 else fg.Verdict.scored(i % 4 / 2) for i in range(len(tasks))]

    def counters(self) -> dict[str, float]:
        return {**super().counters(), "asked": float(self.asked)}


class Guessing(fg.ConversationEnv):
    """Two turns; its episodes count what they hear."""

    metric_meanings: ClassVar = {"episode/heard": "Letters that an episode heard, a count, mean over the episodes."}
    default_turns = 2

    def tasks(self, split: Any) -> list[fg.Task]:
        return [fg.Task(f"{split} {i}") for i in range(8)]

    def begin(self, task: fg.Task) -> fg.Episode:
        return Guess()

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        return fg.Verdict.scored(len(set(transcript.response)) / 8)

    def demonstrations(self, count: int, rng: Any) -> list[tuple[str, str]]:
        return [("train 1", "abc")] * count


class Guess(fg.Episode):
    heard = 0

    def reply(self, response: str) -> str:
        self.heard += len(response)
        return " more "

    def outcome(self) -> dict[str, int]:
        return {"heard": self.heard}


class WithoutEffect(type(fg.get_objective("rloo"))):
    """A loss whose derivative is 0, which is an event."""

    def loss(self, stream: Any, batch: Any) -> Any:
        output = super().loss(stream, batch)
        return dataclasses.replace(output, loss=0.0 * output.loss)


WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "unscored": {
        "env": {"id": "safety/Preference-v0", "judge": Silent},
        "objective": {"name": "f-grpo", "weighting": "softmax"},
        "trainer": {"max_unscored": 1.0},
    },
    "an event": {
        "env": {"id": "safety/Preference-v0", "judge": Silent},
        "objective": {"name": WithoutEffect},
        "trainer": {"max_unscored": 1.0},
    },
    "several turns": {"env": {"id": Guessing}},
    "truncated sampling": {
        "env": ADDITION,
        "engine": {"top_p": 0.9, "top_k": 8},
        "trainer": {"correction": "token", "old_logps": "recomputed"},
    },
    "several updates": {
        "env": {"id": "safety/Preference-v0", "judge": Silent},
        "objective": {"name": "f-grpo", "importance": "sequence"},
        "trainer": {"minibatches": 2, "old_logps": "recomputed", "max_kl": 10.0, "max_unscored": 1.0},
    },
    "dynamic sampling": {"env": ADDITION, "trainer": {"dynamic_sampling": {"budget": 2}}},
    "penalty": {"env": ADDITION, "objective": {"name": "dapo", "penalty": "kl", "penalty_coefficient": 0.1}},
    "moving average": {"preferences": REFUSAL, "objective": {"name": "kldo", "moving_rate": 0.1, "normalise": True}},
    "hybrid": {
        "env": {"id": "safety/Refusal-v0"},
        "preferences": REFUSAL,
        "objective": {"name": "f-hal", "weighting": "softmax"},
        "trainer": {"evaluate_tasks": 24},
    },
    "curriculum": {"env": {"id": "math/Arithmetic-v0", "curriculum": True, "level": 2, "train_tasks": 20}},
    "constrained": {"env": {"id": "safety/Constrained-v0"}},
    "drift": {
        "env": {"id": "safety/Constrained-v0"},
        "objective": {"name": "grpo", "advantage": "gdpo", "beta": 0.04},
        "callbacks": [{"name": "drift-monitor", "warmup": 1}],
        "trainer": {"group_size": 8},
    },
    "escalation": {"env": {"id": "safety/Escalation-v0"}, "model": {"embedded": {"context": 192}}},
    "tools": {"env": {"id": "tools/Calculator-v0", "tools_text": "", "right": 1.0, "train_tasks": 20}},
    "mastermind": {"env": {"id": "games/Mastermind-v0", "max_turns": 2}, "model": {"embedded": {"context": 256}}},
    "nim": {"env": {"id": "games/Nim-v0", "max_turns": 2}, "model": {"embedded": {"context": 256}}},
    "flattery": {"env": {"id": "safety/Flattery-v0"}, "objective": {"name": "grpo", "beta": 0.04}},
    "zeal": {"env": {"id": "safety/Zeal-v0"}, "objective": {"name": "grpo", "advantage": "gdpo"}},
    "ensemble": {"env": {"id": "safety/Preference-v0", "judge": {"name": "ensemble", "judges": RULES}}},
    "pairwise": {"env": {"id": "safety/Preference-v0", "judge": {"name": "pairwise", "judge": "rule"}}},
    "preference model": {
        "preferences": {
            "path": str(ROOT / "examples" / "preferences" / "rock_paper_scissors.jsonl"),
            "pairs_per_step": 2,
        },
        "trainer": {"name": "preference-model", "steps": 2, "evaluate_every": 0, "checkpoint_every": 0},
    },
}
OWN = [e for kind in KINDS for e in fg.list_entries(kind) if e.distribution == "fdiv-gym" and e.status == "ok"]
NEEDS_MORE = {
    "component/anchored/<k>": "a preference model",
    "component/gprl/<k>": "a preference model",
    "component/lambda/<k>": "a preference model",
    "component/consistent": "a server",
    "component/label/<name>": "a classifier",
    "component/logit": "a classifier",
    "component/rating": "a server",
}
"""Keys that no case writes, because the judge needs more than a tiny run has; tests/judges and tests/gprl read them."""


def objective_tables(name: str) -> dict[str, Any]:
    """The tables that an objective needs."""
    streams = fg.get_objective(name).streams
    tables: dict[str, Any] = {"objective": {"name": name}}
    if "rollouts" in streams:
        tables["env"] = ADDITION
    return tables | ({"preferences": REFUSAL} if "preferences" in streams else {})


CASES = WITH_OPTIONS | {e.name: objective_tables(e.name) for e in OWN if e.kind == "objective"}


def trained(tables: dict[str, Any], folder: Path) -> tuple[RunConfig, RunFolder]:
    """Two steps with a tiny model."""
    embedded = TINY | tables.get("model", {}).get("embedded", {})
    if "name" in tables.get("trainer", {}):  # a trainer of no policy: the options of others are not its own
        return started(tables | {"model": {"embedded": embedded}}, folder)
    trainer = {
        "steps": 2, "prompts_per_step": 2, "group_size": 4, "evaluate_tasks": 2, "evaluate_samples": 2,
        "evaluate_every": 0, "checkpoint_every": 0,
    } | tables.get("trainer", {})  # fmt: skip
    engine = {"max_new_tokens": 4} | tables.get("engine", {})
    return started(tables | {"model": {"embedded": embedded}, "engine": engine, "trainer": trainer}, folder)


def started(tables: dict[str, Any], folder: Path) -> tuple[RunConfig, RunFolder]:
    """The configuration and the folder of a run of these tables."""
    config = parse_config(tables)
    run = RunFolder.create(folder, config.resolved())
    config.trainer.build().fit(config, folder)
    return config, run


def classes_of(config: RunConfig) -> list[type]:
    """The plugin classes that a run uses, and the members of its judge."""
    return [ref.entry.load() for ref in config.references() if ref.entry is not None]


def unexplained(keys: set[str], classes: list[type]) -> list[str]:
    """Keys without an entry of their own; fdiv-gym's own plugins may not rely on the patterns for others."""
    general = {term.key for term in GLOSSARY if term.key.endswith("<name>") and not term.key.startswith("divergence")}
    patterns = {term.meaning.partition("<")[0] for term in GLOSSARY if term.key in general}
    found = {key: meaning_of(key, classes) for key in keys}
    return sorted(k for k, text in found.items() if text is None or any(text.startswith(p) for p in patterns))


def fits(pattern: str, key: str) -> bool:
    """Whether an entry, perhaps a pattern such as ``loss/<stream>`` or ``pass@<k>``, stands for a key."""
    escaped = re.escape(pattern).replace("<k>", r"\d+")
    return re.fullmatch(re.sub(r"<\w+>", ".+", escaped), key) is not None


def unwritten(written: set[str], documented: set[str]) -> list[str]:
    """Documented keys and patterns that no file holds; a key that has an entry of its own is no case of a pattern."""
    return sorted(key for key in documented if not any(fits(key, name) for name in written - (documented - {key})))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """case -> (its configuration, its keys in metrics.jsonl and in evaluations.jsonl); each case runs once."""

    @functools.cache
    def of(case: str) -> tuple[RunConfig, dict[str, set[str]]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FDIV_GYM_QUIET", "1")
            config, run = trained(CASES[case], tmp_path_factory.mktemp("case") / "run")
        lines = {name: run.lines(name) for name in (METRICS, EVALUATIONS)}
        # Without environment and reference a policy is not evaluated; a model without an objective is no policy.
        measured = config.env is not None or config.objective is None or config.objective.build().needs_reference
        assert (len(lines[METRICS]), len(lines[EVALUATIONS])) == (2, 2 if measured else 0)
        return config, {name: {key for record in records for key in record} for name, records in lines.items()}

    return of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The classes of an evaluation of a run of safety/Refusal-v0, and its results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        folder = tmp_path_factory.mktemp("evaluated")
        config, run = trained({"env": {"id": "safety/Refusal-v0"}}, folder / "run")
        evaluated, trained_on = configure(str(run.path))
        done = evaluate(Plan(evaluated, tasks=2, samples=2, trained_on=trained_on), folder / "evaluation")
    return classes_of(config), done.results


@pytest.mark.slow  # with the next two tests: about fifty runs
@pytest.mark.parametrize("case", CASES)
def test_every_metric_of_a_run_has_a_meaning(case, written):
    config, keys = written(case)
    assert unexplained(keys[METRICS] | keys[EVALUATIONS], classes_of(config)) == []


@pytest.mark.slow
def test_every_entry_on_a_run_is_written(written):
    runs = [written(case)[1] for case in CASES]
    for file in (METRICS, EVALUATIONS):
        documented = {term.key for term in GLOSSARY if term.where == file}
        assert unwritten(set().union(*(keys[file] for keys in runs)), documented) == [], "a case of CASES must write it"


@pytest.mark.slow
def test_every_metric_that_a_plugin_explains_is_written(written):
    keys = set().union(*(names for case in CASES for names in written(case)[1].values()))
    explained = {key for entry in OWN for key in meanings_of(entry.load())}
    assert set(unwritten(keys, explained)) == set(NEEDS_MORE)


def test_every_key_of_an_evaluation_has_a_meaning(results):
    classes, record = results
    keys = {*record, *record["metrics"], *(f"env/{name}" for name in record["env_metrics"])}
    assert record["episode_metrics"] == {}
    assert unexplained(keys, classes) == []
    documented = {term.key for term in GLOSSARY if term.where == RESULTS}
    assert unwritten({*record, *record["metrics"]}, documented) == []
    assert {key for key in {*record, *record["metrics"]} if not any(fits(term, key) for term in documented)} == set()


def test_a_key_without_an_entry_would_be_found():
    assert unexplained({"loss", "env/nothing", "nothing/else"}, [fg.TextEnv]) == ["env/nothing", "nothing/else"]


def test_a_meaning_is_one_sentence_that_stands_alone():
    for term in GLOSSARY:
        assert term.meaning[0].isupper(), term.key
        assert term.meaning.endswith("."), term.key
        assert term.meaning.count(". ") == 0, term.key
    assert len({(term.key, term.where) for term in GLOSSARY}) == len(GLOSSARY)
    assert len({(term.key, term.meaning) for term in GLOSSARY}) == len({term.key for term in GLOSSARY})


def test_an_entry_that_nothing_writes_would_be_found():
    assert unwritten({"loss", "total/calls"}, {"loss", "gone", "total/calls", "total/<name>", "pass@<k>"}) == [
        "gone", "pass@<k>", "total/<name>",
    ]  # fmt: skip
    assert unwritten({"total/other", "pass@8"}, {"total/calls", "total/<name>", "pass@<k>"}) == ["total/calls"]


def test_patterns_name_their_parts():
    assert meaning_of("pass@8").startswith("Probability that at least one of 8 responses")
    assert meaning_of("pass@many") is None
    assert "stream preferences" in meaning_of("loss/preferences")
    assert "for the divergence kl" in meaning_of("divergence/kl")
    assert "kl" not in meaning_of("divergence/standard_error")


def test_a_class_precedes_the_glossary_and_inherits():
    class Base(fg.TextEnv):
        metric_meanings: ClassVar = {"env/a": "A of the base.", "env/b": "B of the base."}

    class Own(Base):
        metric_meanings: ClassVar = {"env/a": "A of its own.", "component/x/<name>": "Part <name>."}

    assert meanings_of(Own) == {
        "env/a": "A of its own.",
        "component/x/<name>": "Part <name>.",
        "env/b": "B of the base.",
    }
    assert meaning_of("env/a", [Own]) == "A of its own."
    assert meaning_of("component/x/7", [Own]) == "Part 7."
    assert meaning_of("env/c", [Own]).startswith("The environment's own metric c")
