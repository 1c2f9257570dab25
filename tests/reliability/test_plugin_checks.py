"""The quick part of the kits, on the plugins of a run that are not of fdiv-gym."""

import pytest
import torch
from folder_harness import config_file

import fdiv_gym as fg
from fdiv_gym.objectives import Coefficients
from fdiv_gym.runs import RunFolder, load_config, parse_config, train
from fdiv_gym.testing import is_foreign, quick
from fdiv_gym_math.addition import Addition

TRANSFORMERS = type(fg.get_engine("transformers"))
PEARSON = type(fg.get_divergence("pearson"))
F_GRPO = type(fg.get_objective("f-grpo"))

pytestmark = pytest.mark.plugin_checks


class Plain(Addition):
    """An environment without fault."""


class Generous(Addition):
    """Garbage gets the maximum."""

    def score(self, task, response):
        return fg.Verdict.scored(1.0)


class Short(Addition):
    """One verdict is missing."""

    def score_batch(self, tasks, responses):
        return super().score_batch(tasks, responses)[1:]


class Bent(PEARSON):
    """Its generator is another one than that of its branches."""

    def generator(self, t):
        return 2 * super().generator(t)


class Backwards(F_GRPO):
    """Pushes the best responses down."""

    def prepare(self, groups, preferences):
        made = super().prepare(groups, preferences)
        return {s: Coefficients({k: -v for k, v in c.rows.items()}, c.active) for s, c in made.items()}


class Biased(fg.Advantage):
    """Groups of equal rewards get an advantage."""

    def compute(self, groups):
        return groups.rewards.nan_to_num(0.0) + 1


class Loud(fg.Judge):
    """Scores outside its range."""

    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(2.0) for _ in responses]


class Retold(TRANSFORMERS):
    """Its text is not that of its tokens."""

    def generate(self, prompts, n, sampling):
        from dataclasses import replace

        return [[replace(c, text=c.text + "!") for c in group] for group in super().generate(prompts, n, sampling)]


def config(**tables):
    return parse_config({"env": {"id": "math/Addition-v0", "digits": 1}, **tables})


FAULTS = {
    "generous": ({"env": {"id": Generous}}, "rejects_invalid"),
    "short": ({"env": {"id": Short}}, "reference_response|rejects_invalid|batch"),
    "bent": ({"objective": {"divergence": Bent}}, "conjugate|fenchel-young|variational"),
    "backwards": ({"objective": {"name": Backwards}}, "sign"),
    "biased": ({"objective": {"name": "rloo", "advantage": Biased}}, "equal|unscored"),
    "loud": ({"env": {"id": "safety/Preference-v0", "judge": Loud}}, "verdicts"),
}


@pytest.mark.parametrize(("tables", "check"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_a_plugin_is_named_with_the_check_that_found_it(tables, check):
    with pytest.raises(fg.PluginError, match=rf"breaks its contract: ({check}): .*trainer.check_plugins = false"):
        quick.check_run_plugins(config(**tables), pytest.fail, seconds=60)


def test_plugins_of_fdiv_gym_are_not_checked_and_all_others_are():
    own, instance = config().env, config(env={"id": fg.make("math/Addition-v0")}).env
    foreign = config(env={"id": Plain}).env
    assert [is_foreign(ref) for ref in (own, instance, foreign)] == [False, True, True]
    said = []
    quick.check_run_plugins(config(), said.append, seconds=0)  # nothing is to be checked, so nothing lacks time
    assert said == []


def test_sound_plugins_pass_and_leave_the_random_states_alone():
    tables = {"env": {"id": Plain}, "objective": {"divergence": fg.get_divergence("kl", link="calibrated")}}
    before = torch.get_rng_state()
    quick.check_run_plugins(config(**tables), pytest.fail, seconds=60)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_has_no_time_is_named():
    said = []
    quick.check_run_plugins(config(env={"id": Generous}), said.append, seconds=0)
    assert len(said) == 1
    assert "no time to check 'form' before the run" in said[0]


def test_a_judge_that_contacts_a_server_is_not_asked():
    said = []
    judge = fg.get_judge("llm", base_url="http://127.0.0.1:9/v1", model="m")
    quick.check_run_plugins(config(env={"id": "safety/Preference-v0", "judge": judge}), said.append, seconds=60)
    assert said == ["judge 'llm' contacts a server: not checked before the run"]


@pytest.mark.parametrize(("table", "values"), [("env", {"id": Generous}), ("engine", {"name": Retold})])
def test_a_run_stops_before_its_first_step_unless_it_is_told_not_to_check(tmp_path, monkeypatch, table, values):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.setattr(quick, "SECONDS", 60.0)
    tables = load_config(config_file(tmp_path), ["trainer.steps=1", "trainer.checkpoint_every=1"]).resolved()
    tables[table] = values
    with pytest.raises(fg.PluginError, match="breaks its contract"):
        train(tables, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    tables["trainer"]["check_plugins"] = False
    if table == "engine":
        return  # what becomes of its text is not the matter here
    train(tables, tmp_path / "run")
    assert len(RunFolder(tmp_path / "run").lines("metrics.jsonl")) == 1
    tables["trainer"]["check_plugins"] = True
    with pytest.raises(fg.PluginError, match="breaks its contract"):
        train(tables, tmp_path / "run", resume=True, accept_changes=True)
