"""Cells: order, ids, what they run, their keys, and equal terms."""

import tomllib

import hypothesis.strategies as st
import pytest
from bench_harness import cells_of, small
from hypothesis import given, settings

import fdiv_gym as fg
from fdiv_gym.bench import expand, parse_matrix
from fdiv_gym.bench.cells import key_of, refuse_unequal_terms
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.runs import parse_config, provenance_of

GRPO = {"label": "grpo", "objective": {"name": "grpo"}}
HAL = {"label": "hal", "objective": {"name": "f-hal", "lam": 0.5}}


def test_ids_are_readable_and_their_order_is_that_of_the_file():
    assert [cell.id for cell in cells_of()] == [
        "f-grpo-pearson--addition--embedded--seed0",
        "f-grpo-pearson--addition--embedded--seed1",
        "grpo--addition--embedded--seed0",
        "grpo--addition--embedded--seed1",
    ]
    more = cells_of(updates=[{}, {"updates_per_rollout": 2, "minibatches": 2}], seeds=[5], objectives=[GRPO])
    assert [(cell.id.rpartition("--")[2], cell.updates) for cell in more] == [("updates1", 1), ("updates4", 4)]
    assert [cell.config.trainer.checked_options.minibatches for cell in more] == [1, 2]


def test_a_cell_runs_what_its_file_says():
    for cell in cells_of():
        again = parse_config(tomllib.loads(toml_text(cell.values)))
        assert again.resolved() == cell.config.resolved()
        resolved = again.resolved()
        assert (resolved["seed"], resolved["trainer"]["steps"], cell.rate) == (cell.seed, 2, 3e-4)
        assert cell.key == key_of(resolved, provenance_of(again)["plugins"])


def test_keys_depend_on_every_option_and_on_the_code():
    first, *others = cells_of()
    assert len({first.key, *(cell.key for cell in others)}) == 4
    assert [cell.key for cell in cells_of()] == [first.key, *(cell.key for cell in others)]
    assert cells_of(base__trainer={"max_grad_norm": 0.5})[0].key != first.key
    resolved, plugins = first.config.resolved(), provenance_of(first.config)["plugins"]
    for name in plugins:
        changed = {**plugins, name: {**plugins[name], "source": "0" * 16}}
        assert key_of(resolved, changed) != first.key


def test_warm_start_and_evaluation_do_not_depend_on_the_cell():
    cells = cells_of()
    assert {cell.config.model.embedded.seed for cell in cells} == {0}
    assert len({str(cell.config.resolved()["model"]) for cell in cells}) == 1
    tasks = [tuple(task.hash for task in cell.config.env.build().task_list("heldout")[:3]) for cell in cells]
    assert len(set(tasks)) == 1


def test_the_prompts_of_a_step_are_paired_between_objectives():
    from fdiv_gym_accelerate.sources import TaskSource

    drawn = {}
    for cell in cells_of():
        source = TaskSource(cell.config.env.build(), cell.seed)
        drawn[cell.objective, cell.seed] = [task.hash for step in (1, 2) for task in source.draw(2, step)]
    assert drawn["grpo", 0] == drawn["f-GRPO pearson", 0] != drawn["grpo", 1] == drawn["f-GRPO pearson", 1]


@pytest.mark.parametrize(
    ("trainer", "name"),
    [
        ({"evaluate_tasks": 4}, "trainer.evaluate_tasks"),
        ({"evaluate_samples": 4}, "trainer.evaluate_samples"),
        ({"prompts_per_step": 4}, "trainer.prompts_per_step"),
        ({"group_size": 4}, "trainer.group_size"),
        ({"minibatches": 2}, "trainer.minibatches"),
        ({"precision": "bf16"}, "trainer.precision"),
    ],
)
def test_unequal_terms_are_refused(trainer, name):
    with pytest.raises(fg.ConfigError, match=rf"cell grpo--.*: {name} = .* in cell f-grpo-pearson"):
        cells_of(objectives=[small()["objectives"][0], {**GRPO, "trainer": trainer}])


def test_what_belongs_to_a_method_may_differ():
    cells = cells_of(objectives=[GRPO, {**GRPO, "label": "dapo", "trainer": {"dynamic_sampling": {"budget": 2}}}])
    refuse_unequal_terms(cells)
    assert cells[-1].config.trainer.checked_options.dynamic_sampling.budget == 2


def test_environments_have_their_own_terms():
    two = {"label": "two", "env": {"id": "math/Addition-v0", "digits": 2}, "engine": {"max_new_tokens": 5}}
    cells = cells_of(environments=[small()["environments"][0], two], objectives=[GRPO], seeds=[0])
    assert [cell.config.engine.checked_options.max_new_tokens for cell in cells] == [4, 5]


def test_options_that_tuning_chose_are_set_for_their_objective_only():
    matrix = parse_matrix(small(seeds=[0]))
    cells = expand(matrix, chosen={"grpo": {"trainer.learning_rate": 1e-3}}, kind="tuning", seeds=[7], suffix="trial2")
    assert [(cell.rate, cell.seed) for cell in cells] == [(3e-4, 7), (1e-3, 7)]
    assert cells[1].folder == "tuning/grpo--addition--embedded--seed7--trial2"
    with pytest.raises(fg.ConfigError, match=r"'gprl'.*no objective of the matrix"):
        expand(matrix, chosen={"gprl": {}})
    with pytest.raises(fg.ConfigError, match=r"cell grpo--.*did you mean 'learning_rate'"):
        expand(matrix, chosen={"grpo": {"trainer.learning_rte": 1e-3}})


@pytest.mark.parametrize("kind", ["tokens", "verifications", "seconds"])
def test_other_budgets_are_those_of_the_trainer(kind):
    cell = cells_of(budget={kind: 100}, base__trainer={"steps": 50})[0]
    assert getattr(cell.config.trainer.checked_options.budget, kind) == 100
    assert cell.config.trainer.checked_options.steps == 50


def test_preferences_are_those_of_the_objective_the_environment_or_the_base():
    with pytest.raises(fg.ConfigError, match=r"cell hal--.*objective 'hal' needs preferences"):
        cells_of(objectives=[GRPO, HAL])
    environment = {**small()["environments"][0], "preferences": {"path": "environment.jsonl"}}
    own = {**HAL, "label": "own", "preferences": {"path": "own.jsonl"}}
    cells = cells_of(objectives=[GRPO, HAL, own], environments=[environment], seeds=[0])
    found = [None if cell.config.preferences is None else cell.config.preferences.path for cell in cells]
    assert found == [None, "environment.jsonl", "own.jsonl"]
    with pytest.raises(fg.ConfigError, match=r"cell grpo--.*reads no preferences"):
        cells_of(objectives=[{**GRPO, "preferences": {"path": "own.jsonl"}}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": [{"label": "a", "objective": {"name": "grpoo"}}]}, "cell a--addition.*did you mean 'grpo'"),
        ({"environments": [{"label": "a", "env": {"id": "math/Adition-v0"}}]}, "cell f-grpo.*did you mean"),
        ({"base__trainer": {"grup_size": 3}}, "did you mean 'group_size'"),
        ({"base__engine": {"max_tokens": 3}}, "unknown option 'max_tokens'"),
    ],
)
def test_errors_name_the_cell_and_a_near_name(changes, message):
    with pytest.raises(fg.FdivGymError, match=message):
        cells_of(**changes)


@settings(deadline=None)
@given(
    st.recursive(
        st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ).flatmap(lambda value: st.just({"a b": value, "t": {"x": value, "": [value]}}))
)
def test_run_files_read_back_as_they_were(values):
    assert tomllib.loads(toml_text(values)) == values


@pytest.mark.parametrize("value", [None, "\ud800", object()])
def test_what_toml_cannot_hold_is_refused(value):
    with pytest.raises(fg.ConfigError):
        toml_text({"a": value})
