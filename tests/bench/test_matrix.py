"""The file of a matrix: what is read, and what is refused with its place and a near name."""

import pytest
from bench_harness import small

import fdiv_gym as fg
from fdiv_gym.bench import load_matrix, parse_matrix
from fdiv_gym.bench.labels import slug


def test_defaults():
    matrix = parse_matrix(small())
    assert [model.label for model in matrix.all_models] == ["embedded"]
    assert (matrix.budget.kind, matrix.budget.limit, matrix.updates, matrix.tuning) == ("steps", 2, None, None)
    assert [name for name, value in matrix.controls if value is not True] == [
        "seeds", "objective", "temperatures", "samples",
    ]  # fmt: skip


def test_a_file_is_read(tmp_path):
    path = tmp_path / "matrix.toml"
    path.write_text(
        'name = "two"\nseeds = [1, 2]\nupdates = [{}, { minibatches = 4 }]\n[budget]\ntokens = 1000\n'
        '[[objectives]]\nlabel = "a"\nobjective = { name = "grpo" }\n'
        '[[environments]]\nlabel = "b"\nenv = { id = "math/Addition-v0" }\n'
        "[tuning]\nseeds = [9]\n"
        'values = { "trainer.learning_rate" = [1e-4, 1e-3], "objective.beta" = [0.0, 0.1, 0.2] }\n'
    )
    matrix = load_matrix(path)
    assert [each.count for each in matrix.updates] == [1, 4]
    assert matrix.tuning.trials_of_each == 6
    assert (matrix.budget.kind, matrix.budget.limit) == ("tokens", 1000)


ENV = {"label": "addition", "env": {"id": "math/Addition-v0"}}
GRPO = {"label": "grpo", "objective": {"name": "grpo"}}
TUNING = {"seeds": [7], "values": {"trainer.learning_rate": [1e-4, 1e-3]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectivs": []}, r"unknown option 'objectivs' \(did you mean 'objectives'"),
        ({"objectives": []}, "'objectives'.*at least 1"),
        ({"seeds": []}, "'seeds'.*at least 1"),
        ({"environments": []}, "'environments'.*at least 1"),
        ({"models": []}, "'models'.*at least 1"),
        ({"updates": []}, "'updates'.*at least 1"),
        ({"seeds": [1, 1]}, "seeds: 1 is given twice"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": [1.0]}, "seeds.0"),
        ({"objectives": [GRPO, GRPO]}, "labels 'grpo' and 'grpo'"),
        ({"objectives": [GRPO, {**GRPO, "label": "GRPO"}]}, "labels 'grpo' and 'GRPO' have the same letters"),
        ({"objectives": [{**GRPO, "label": "a/b"}, {**GRPO, "label": "a b"}]}, "both would be 'a-b'"),
        ({"objectives": [{**GRPO, "label": "x" * 61}]}, "at most 60 characters"),
        ({"objectives": [{**GRPO, "label": "../.."}]}, "needs a letter or digit"),
        ({"objectives": [{**GRPO, "label": "a\nb"}]}, "one line of printable text"),
        ({"objectives": [{**GRPO, "label": "a\u202eb"}]}, "one line of printable text"),
        ({"objectives": [{**GRPO, "label": "\u03c7"}]}, "needs a letter or digit"),
        ({"objectives": [{**GRPO, "label": ""}]}, "needs a letter or digit"),
        ({"objectives": [{**GRPO, "env": {}}]}, "unknown option 'objectives.0.env'"),
        ({"objectives": [{**GRPO, "lable": "a"}]}, "did you mean 'label'"),
        ({"objectives": [{"label": "a"}]}, "'objectives.0.objective' is required"),
        ({"environments": [{"label": "a"}]}, "'environments.0.env' is required"),
        ({"budget": {}}, "exactly one of steps, tokens, verifications, seconds, got none"),
        ({"budget": {"steps": 1, "tokens": 2}}, "exactly one of .*got steps and tokens"),
        ({"budget": {"steps": 0}}, "budget.steps"),
        ({"budget": {"token": 5}}, "did you mean 'tokens'"),
        ({"base": {"enginee": {}}}, "base: unknown table 'enginee' .did you mean 'engine'"),
        ({"base": {"env": {}}}, r"it belongs to \[\[environments\]\]"),
        ({"base": {"seed": 1}}, "it belongs to seeds"),
        ({"base": {"trainer": 3}}, "base.trainer must be a table"),
        ({"base__trainer": {"steps": 5}}, r"base.trainer.steps: \[budget\] decides it"),
        ({"objectives": [{**GRPO, "trainer": {"budget": {}}}]}, r"'grpo'.trainer.budget: \[budget\] decides it"),
        ({"updates": [{}], "base__trainer": {"minibatches": 2}}, "minibatches: updates decides it"),
        ({"updates": [{"minibatches": 2}, {"updates_per_rollout": 2}]}, "2 is given twice"),
        ({"models": [{"label": "m", "model": {}}]}, r"base.model is read only without \[\[models\]\]"),
        ({"tuning": {**TUNING, "seeds": [1, 7]}}, "tuning.seeds: 1 are seeds of the table"),
        ({"tuning": {**TUNING, "values": {}}}, "tuning.values"),
        ({"tuning": {**TUNING, "values": {"trainer.learning_rate": []}}}, "has no values"),
        ({"tuning": {**TUNING, "values": {"trainer.learning_rate": [1e-3, 1e-3]}}}, "0.001 is given twice"),
        ({"tuning": {**TUNING, "values": {"env.digits": [1]}}}, "'env.digits' is no option of trainer or objective"),
        ({"tuning": {**TUNING, "trials": 3}}, "the grid has 2 combinations, not trials = 3"),
        ({"tuning": {**TUNING, "method": "optuna"}}, "needs trials"),
        ({"tuning": {**TUNING, "method": "optuna", "trials": 3}}, "fewer than trials = 3"),
        ({"tuning": {**TUNING, "split": "heldout"}}, "tuning.split"),
        ({"controls": {"untraind": True}}, "did you mean 'untrained'"),
        ({"run": {"executor": "slurm"}}, "run.executor"),
        ({"run": {"processes": 0}}, "run.processes"),
        ({"run": {"memory_gb": 0}}, "run.memory_gb"),
        ({"run": {"cpus": 2}}, 'run.cpus is read with executor = "ray" only'),
        ({"run": {"executor": "ray", "cores": 2}}, 'run.cores is read with executor = "local" only'),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(fg.ConfigError, match=message):
        parse_matrix(small(**changes))


@pytest.mark.parametrize("text", ["name = ", "\x00", "a = [" * 5000])
def test_a_file_that_is_no_toml_is_refused(text, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(fg.ConfigError, match=r"m\.toml is not valid TOML"):
        load_matrix(path)
    with pytest.raises(fg.ConfigError, match="there is no matrix"):
        load_matrix(tmp_path / "none.toml")
    with pytest.raises(fg.ConfigError, match="cannot read"):
        load_matrix(tmp_path)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("f-GRPO (KL, beta=0.1)", "f-grpo-kl-beta-0-1"),
        ("../../etc/passwd", "etc-passwd"),
        ("a--b", "a-b"),
        ("Pearson \u03c7\u00b2", "pearson-2"),
        ("\u00c9cole", "ecole"),
        (".hidden", "hidden"),
    ],
)
def test_slugs_are_safe_names(label, expected):
    assert slug(label) == expected
