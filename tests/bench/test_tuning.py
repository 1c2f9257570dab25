"""Tuning: choices by hand, failed trials, splits without a common task, and searches that go on as they began."""

import json

import pytest
from bench_harness import small, write_done

import fdiv_gym as fg
from fdiv_gym.bench import Outcome, expand, parse_matrix
from fdiv_gym.bench import tuning as module
from fdiv_gym.bench.checks import check_matrix
from fdiv_gym.bench.search import BATCH, Grid, Optuna, combinations
from fdiv_gym.bench.tuning import choice_of, means_of, score_ranges, tune
from fdiv_gym.errors import BenchError

RATE, BETA = "trainer.learning_rate", "objective.beta"
VALUES = {RATE: [1e-4, 3e-4, 1e-3]}
GRPO = {"label": "grpo", "objective": {"name": "grpo"}}


def row(objective, trial, rate, value, environment="addition"):
    return {
        "objective": objective, "trial": trial, "options": {RATE: rate}, "environment": environment, "model": "m",
        "seed": 7, "cell": f"{objective}--{environment}--{trial}", "value": value,
    }  # fmt: skip


def matrix_of(**changes):
    tuning = {"seeds": [7, 8], "values": VALUES, **changes}
    return parse_matrix(small(tuning=tuning))


class Runs:
    """Stands in for the executor: every cell reaches the score that its options have."""

    def __init__(self, folder, score, stop_after=None):
        self.folder, self.score, self.stop_after, self.asked = folder, score, stop_after, []

    def __call__(self, cells):
        done, failed = [], []
        for cell in cells:
            place = self.folder / cell.folder / "record.json"
            if not place.exists():
                if self.stop_after == len(self.asked):
                    return Outcome(tuple(done), tuple(failed), True)
                self.asked.append(cell.id)
                write_done(self.folder, cell, self.score(cell))
            (done if json.loads(place.read_text())["status"] == "done" else failed).append(cell.id)
        return Outcome(tuple(done), tuple(failed), False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainer.learning_rat": [1e-4]}, "unknown option 'learning_rat' .did you mean 'learning_rate'"),
        ({RATE: [1e-4, -1.0]}, "greater than 0"),
        ({"objective.beta": ["a"]}, "beta"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(values, message):
    with pytest.raises(fg.ConfigError, match=message):
        check_matrix(matrix_of(values=values))


def test_a_budget_of_verifications_that_the_steps_cannot_spend_is_refused():
    # 2 prompts with 2 responses each: 4 in a step.
    base = {"base__trainer": {"steps": 5}}
    check_matrix(parse_matrix(small(budget={"verifications": 20}, **base)))
    with pytest.raises(fg.ConfigError, match=r"5 steps draw 20 responses, fewer than the budget of 21 verifications"):
        check_matrix(parse_matrix(small(budget={"verifications": 21}, **base)))


def test_too_many_combinations_are_refused_at_once():
    values = {f"objective.x{place}": list(range(10)) for place in range(9)}
    with pytest.raises(fg.ConfigError, match="1000000000 combinations, more than 10000"):
        matrix_of(values=values)


@pytest.mark.parametrize("chosen", [{"grpo": 5}, [], {"grpo": []}, "x"])
def test_a_damaged_choice_is_none(tmp_path, chosen):
    assert module.choice_in(tmp_path) is None
    (tmp_path / "tuning.json").write_text(json.dumps({"chosen": chosen}))
    assert module.choice_in(tmp_path) is None
    (tmp_path / "tuning.json").write_text(json.dumps({"chosen": {"grpo": {RATE: 1e-3}}}))
    assert module.choice_in(tmp_path) == {"grpo": {RATE: 1e-3}}


def test_the_choice_is_the_best_mean_of_normalised_scores():
    # Ranges 0 to 1 and -10 to 10: trial 0 has (0.5 + 0.5) / 2, trial 1 (0.4 + 0.75) / 2, trial 2 a failed cell.
    rows = [row("a", 0, 1e-4, 0.5), row("a", 0, 1e-4, 0.0, "wide")]
    rows += [row("a", 1, 3e-4, 0.4), row("a", 1, 3e-4, 5.0, "wide")]
    rows += [row("a", 2, 1e-3, 1.0), row("a", 2, 1e-3, None, "wide")]
    rows += [row("b", trial, rate, 0.5) for trial, rate in enumerate(VALUES[RATE])]
    ranges = {"addition": (0.0, 1.0), "wide": (-10.0, 10.0)}
    assert means_of(rows, "a", ranges) == {0: 0.5, 1: pytest.approx(0.575), 2: None}
    # Of equal trials the first, and the smallest value is at the edge.
    expected = {"chosen": {"a": {RATE: 3e-4}, "b": {RATE: 1e-4}}, "at_edge": {"a": [], "b": [RATE]}}
    assert choice_of(rows, VALUES, ranges) == expected
    # (0.9 + 0.5) / 2 against (0.1 + 0.6) / 2; by the scores as they are, 0.9 would lose to 2.1.
    for row_, value in zip(rows, (0.9, 0.0, 0.1, 2.0), strict=False):
        row_["value"] = value
    assert choice_of(rows, VALUES, ranges)["chosen"]["a"] == {RATE: 1e-4}


def test_words_and_single_values_have_no_edge():
    values = {"objective.divergence": ["kl", "pearson"], RATE: [1e-3]}
    rows = [row("a", 0, 1e-3, 0.5) | {"options": {"objective.divergence": "kl", RATE: 1e-3}}]
    assert choice_of(rows, values, {"addition": (0, 1)})["at_edge"] == {"a": []}


def test_an_objective_whose_trials_all_failed_is_named():
    rows = [row("a", 0, 1e-4, 0.5), row("b", 0, 1e-4, None)]
    with pytest.raises(BenchError, match=r"every trial of the objective 'b' has a failed cell, e\.g\. b--addition"):
        choice_of(rows, VALUES, {"addition": (0, 1)})


def test_a_grid_is_run_for_every_objective_and_written(tmp_path):
    def score(cell):
        if cell.objective == "grpo" and cell.rate == 1e-4 and cell.seed == 8:
            return None
        best = 3e-4 if cell.objective == "grpo" else 1e-4
        return 0.5 + (0.25 if cell.rate == best else 0.0)

    runs = Runs(tmp_path, score)
    tuned = tune(matrix_of(), tmp_path, runs)
    assert tuned.chosen == {"f-GRPO pearson": {RATE: 1e-4}, "grpo": {RATE: 3e-4}}
    assert len(runs.asked) == 2 * 3 * 2
    assert tuned.failed == ("grpo--addition--embedded--seed8--trial0",)
    record = json.loads((tmp_path / "tuning.json").read_text())
    assert record["chosen"] == tuned.chosen
    assert record["at_edge"] == {"f-GRPO pearson": [RATE], "grpo": []}
    assert record["score_range"] == {"addition": [0.0, 1.0]}
    assert [len([r for r in record["trials"] if r["objective"] == o]) for o in tuned.chosen] == [6, 6]
    assert [r["value"] for r in record["trials"] if r["cell"] == tuned.failed[0]] == [None]
    for trial in record["trials"]:
        assert trial["cell"].endswith(f"--seed{trial['seed']}--trial{trial['trial']}")
    # Started again: nothing is run, and the same is chosen.
    again = Runs(tmp_path, score)
    assert tune(matrix_of(), tmp_path, again) == tuned
    assert again.asked == []


def test_an_interrupted_tuning_chooses_nothing_and_goes_on(tmp_path):
    runs = Runs(tmp_path, lambda cell: cell.rate, stop_after=5)
    assert tune(matrix_of(), tmp_path, runs).chosen is None
    assert not (tmp_path / "tuning.json").exists()
    rest = Runs(tmp_path, lambda cell: cell.rate)
    assert tune(matrix_of(), tmp_path, rest).chosen["grpo"] == {RATE: 1e-3}
    assert len(rest.asked) == 12 - 5
    assert not set(rest.asked) & set(runs.asked)


def test_the_table_has_no_task_and_no_seed_of_the_tuning():
    matrix = matrix_of()
    table = expand(matrix)
    tuning = expand(matrix, kind="tuning", seeds=matrix.tuning.seeds, suffix="trial0")
    assert {cell.seed for cell in table}.isdisjoint(cell.seed for cell in tuning)

    def evaluated(cell):
        options = cell.config.trainer.checked_options
        tasks = cell.config.env.build().task_list("heldout")
        return {t.hash for t in tasks[options.evaluate_skip : options.evaluate_skip + options.evaluate_tasks]}

    for cell in table:
        for other in tuning:
            assert len(evaluated(cell)) == len(evaluated(other)) == 3
            assert not evaluated(cell) & evaluated(other)
    train = {task.hash for task in table[0].config.env.build().task_list("train")}
    assert not train & evaluated(tuning[0])


def test_an_environment_without_a_validation_split_is_refused():
    few = [{"label": "addition", "env": {"id": "math/Addition-v0", "digits": 1, "heldout_tasks": 3}}]
    cells = expand(parse_matrix(small(environments=few)), kind="tuning")
    with pytest.raises(BenchError, match=r"'addition' has 3 held-out tasks and the table evaluates 3"):
        score_ranges(cells)


def test_a_task_in_both_splits_is_refused(monkeypatch):
    cells = expand(parse_matrix(small()), kind="tuning")[:1]

    class Repeating:
        score_range = (0.0, 1.0)

        def task_list(self, split):
            return [fg.Task(text, "1") for text in "abcdaf"]

    monkeypatch.setattr(type(cells[0].config.env), "build", lambda self: Repeating())
    monkeypatch.setattr(module, "close_plugin", lambda env: None)
    with pytest.raises(BenchError, match="the same task among the first 3"):
        score_ranges(cells)


def test_what_all_objectives_share_is_not_tuned(tmp_path):
    for key in ("trainer.group_size", "trainer.minibatches", "trainer.budget.tokens"):
        with pytest.raises(fg.ConfigError, match=f"{key} is the same for all objectives"):
            tune(matrix_of(values={key: [2, 4]}), tmp_path, Runs(tmp_path, lambda cell: 0.5))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_metric_is_named(tmp_path):
    with pytest.raises(fg.ConfigError, match=r"have no 'score/best'; they have score/sampled"):
        tune(matrix_of(metric="score/best"), tmp_path, Runs(tmp_path, lambda cell: 0.5))


def optuna_of(trials):
    return matrix_of(values={RATE: [1e-4, 3e-4, 1e-3], BETA: [0.0, 0.1, 0.2, 0.3]}, method="optuna", trials=trials)


def test_a_grid_asks_for_everything_once():
    search = Grid(optuna_of(5).tuning.model_copy(update={"method": "grid", "trials": None}))
    asked = search.ask()
    assert len(asked) == 12
    assert asked[:2] == [{RATE: 1e-4, BETA: 0.0}, {RATE: 1e-4, BETA: 0.1}]
    assert search.ask() == []


@pytest.mark.parametrize("trials", [3, 10, 12])
def test_optuna_asks_for_different_combinations_and_for_the_same_again(trials):
    tuning = optuna_of(trials).tuning

    def asked(value):
        search, found = Optuna(tuning), []
        while batch := search.ask():
            assert len(batch) <= BATCH
            search.tell([value(options) for options in batch])
            found += batch
        return found

    found = asked(lambda options: options[BETA])
    assert len(found) == trials
    assert all(options not in found[:place] for place, options in enumerate(found))
    assert all(options in list(combinations(tuning.values)) for options in found)
    assert found == asked(lambda options: options[BETA])
    assert asked(lambda options: None)[:BATCH] == found[:BATCH]


def test_optuna_tells_true_from_one():
    tuning = parse_matrix(
        small(tuning={"seeds": [7], "values": {"objective.x": [True, 1, 1.0, "1"]}, "method": "optuna", "trials": 4})
    ).tuning
    assert sorted(repr(options["objective.x"]) for options in Optuna(tuning).ask()) == ["'1'", "1", "1.0", "True"]


def test_a_search_by_optuna_goes_on_after_an_interruption(tmp_path):
    values = {RATE: [1e-4, 3e-4, 1e-3], "trainer.max_grad_norm": [0.5, 1.0, 2.0]}
    matrix = matrix_of(values=values, method="optuna", trials=6, seeds=[7])

    def score(cell):
        return min(1.0, 500 * cell.rate + 0.1 * (cell.objective == "grpo"))

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        folder.mkdir()
    tuned = tune(matrix, straight, Runs(straight, score))
    for count in (1, 3, 6):
        assert tune(matrix, broken, Runs(broken, score, stop_after=count)).chosen is None
    assert tune(matrix, broken, Runs(broken, score)) == tuned
    assert (straight / "tuning.json").read_bytes() == (broken / "tuning.json").read_bytes()
    asked = [row["objective"] for row in json.loads((broken / "tuning.json").read_text())["trials"]]
    assert {objective: asked.count(objective) for objective in tuned.chosen} == dict.fromkeys(tuned.chosen, 6)


def test_trials_use_the_first_way_to_use_a_rollout(tmp_path):
    updates = [{"updates_per_rollout": 2}, {"updates_per_rollout": 1}]
    matrix = parse_matrix(small(updates=updates, tuning={"seeds": [7], "values": VALUES}))
    runs = Runs(tmp_path, lambda cell: cell.updates / 4)
    tune(matrix, tmp_path, runs)
    assert len(runs.asked) == 6
    assert all("--updates2--" in name for name in runs.asked)
