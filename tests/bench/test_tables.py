"""The tables against direct computation: NumPy, scipy's tests, numbers worked out by hand."""

import json
import math

import fabricated
import numpy as np
import pytest
import torch
from fabricated import (
    DIVERGENCES,
    ENVIRONMENTS,
    FAILED,
    OBJECTIVES,
    RANGES,
    SEEDS,
    TUNING,
    UNTRAINED,
    after_of,
    control_records,
    failed,
    matrix,
    table_records,
)
from scipy import stats

import fdiv_gym as fg
from fdiv_gym.bench import Resampling, paired_difference, tables_of
from fdiv_gym.bench.cells import id_of
from fdiv_gym.bench.results import ranges_of
from fdiv_gym.errors import BenchError

FEW = Resampling(draws=2000)
F, G, R = OBJECTIVES
BAD = "cells/grpo--countdown--embedded--seed14"


def tables(records, matrix=None, **given):
    return tables_of(matrix or fabricated.matrix(), records, score_ranges=RANGES, how=FEW, **given)


@pytest.fixture(scope="module")
def records():
    return table_records() | control_records()


@pytest.fixture(scope="module")
def found(records):
    return tables(records, tuning=TUNING, untrained=UNTRAINED, after=after_of(records))


@pytest.fixture(scope="module")
def one(found):
    return found["comparisons"][0]


def scores(records, objective, environment, seeds=SEEDS):
    low, high = RANGES[environment]
    cells = [records[f"cells/{id_of(objective, environment, 'embedded', seed)}"] for seed in seeds]
    return np.array([(cell.final["score/sampled"] - low) / (high - low) for cell in cells])


def test_the_shape_is_that_of_the_contract(found, one):
    assert found["objectives"] == list(OBJECTIVES)
    assert found["environments"] == list(ENVIRONMENTS)
    assert (found["models"], found["seeds"], found["updates"]) == (["embedded"], list(SEEDS), [1])
    assert found["budget"] == {"kind": "steps", "limit": 20.0}
    assert found["score_range"] == {name: list(ends) for name, ends in RANGES.items()}
    assert {"objective", "iqm", "mean", "optimality_gap", "average_rank", "relative_overall", "auc", "ceiling", "rates",
            "failed", "to_target"} <= one["leaderboard"][0].keys()  # fmt: skip
    assert {"untrained", "random_reward", "noise_floor", "updates", "after", "true_score"} <= found["controls"].keys()


def test_the_same_input_gives_the_same_json(records, found):
    again = tables(dict(reversed(records.items())), tuning=TUNING, untrained=UNTRAINED, after=after_of(records))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert again == found


def test_a_failed_cell_is_never_a_number(records, found, one):
    assert found["missing"] == [{"cell": BAD, "why": "TrainerError: <script>alert(1)</script> & \\end"}]
    assert (one["environments"], one["left_out"]) == (["addition"], ["countdown"])
    heat = one["heatmap"]["GRPO"]["countdown"]
    assert (heat["mean"], heat["seeds"]["14"]) == (None, None)
    assert heat["seeds"]["13"] == pytest.approx(scores(records, G, "countdown", [13])[0])
    assert one["curves"]["GRPO"]["countdown"]["mean"] == []
    assert one["heatmap"][F]["countdown"]["mean"] == pytest.approx(scores(records, F, "countdown").mean())
    assert {row["objective"]: row["failed"] for row in one["leaderboard"]} == {F: 0, G: 1, R: 0}
    for row in one["leaderboard"]:
        assert row["mean"]["value"] == pytest.approx(scores(records, row["objective"], "addition").mean())


def test_a_cell_that_was_not_run_or_has_no_score_is_missing(records):
    less = {name: cell for name, cell in records.items() if name != "cells/grpo--addition--embedded--seed11"}
    name = "cells/grpo--addition--embedded--seed12"
    curve = less[name].curve | {"score/sampled": [0.2, 0.3, None]}
    unscored = less[name].model_copy(update={"curve": curve, "final": less[name].final | {"score/sampled": None}})
    found = tables(less | {name: unscored})
    assert [(m["cell"], m["why"].split(":")[0]) for m in found["missing"]] == [
        ("cells/grpo--addition--embedded--seed11", "not run"),
        (name, "no response of the last evaluation has a score"),
        (BAD, "TrainerError"),
    ]
    (one,) = found["comparisons"]
    assert (one["environments"], one["pairs"], one["profiles"]) == ([], [], {})
    assert one["minimum_detectable_effect"] is None
    for row in one["leaderboard"]:
        for number in ("iqm", "mean", "auc", "ceiling", "average_rank", "relative_overall"):
            assert (row[number]["value"], row[number]["note"]) == (None, "no environment is complete")


def test_aggregates_of_the_leaderboard(records, one):
    rows = {row["objective"]: row for row in one["leaderboard"]}
    assert list(rows) == [F, R, G]  # best first
    runs = np.sort(scores(records, F, "addition"))
    assert rows[F]["iqm"]["value"] == pytest.approx(runs[1:4].mean())
    assert rows[F]["optimality_gap"]["value"] == pytest.approx(1 - runs.mean())
    assert rows[F]["iqm"]["low"] < rows[F]["iqm"]["value"] < rows[F]["iqm"]["high"]
    means = {o: scores(records, o, "addition").mean() for o in OBJECTIVES}
    assert [rows[o]["average_rank"]["value"] for o in OBJECTIVES] == [1.0, 3.0, 2.0]
    start = one["untrained"]["addition"]
    assert start == pytest.approx(0.2)
    assert rows[G]["relative_overall"]["value"] == pytest.approx(100 * (means[G] - start) / (means[F] - start))
    assert rows[F]["relative_overall"]["value"] == pytest.approx(100)
    assert rows[G]["rates"] == {"addition": 1e-3, "countdown": 1e-3}


def test_area_and_ceiling_are_of_the_curves(records, one):
    areas, tops = [], []
    for seed in SEEDS:
        y = records[f"cells/{id_of(G, 'addition', 'embedded', seed)}"].curve["score/sampled"]
        areas.append((10 * (y[0] + y[1]) / 2 + 10 * (y[1] + y[2]) / 2) / 20)
        tops.append(max(y))
    row = next(row for row in one["leaderboard"] if row["objective"] == G)
    assert row["auc"]["value"] == pytest.approx(np.mean(areas))
    assert row["ceiling"]["value"] == pytest.approx(np.mean(tops))


def test_the_target_is_half_of_the_best_gain_and_spending_is_in_proportion_to_steps(records, one):
    target = (0.2 + scores(records, F, "addition").mean()) / 2
    assert one["targets"] == {"addition": pytest.approx(target)}
    spent = []
    for seed in SEEDS:
        y = records[f"cells/{id_of(G, 'addition', 'embedded', seed)}"].curve["score/sampled"]
        spent.append(next((t for t, score in zip((0, 1000, 2000), y, strict=True) if score >= target), math.inf))
    row = next(row for row in one["leaderboard"] if row["objective"] == G)
    for kind, most in (("tokens", 2000), ("verifications", 80), ("seconds", 10.0)):
        reached = row["to_target"][kind]["addition"]
        assert reached["value"] == pytest.approx(np.median(spent) * most / 2000)
        assert (reached["reached"], reached["seeds"]) == (sum(map(math.isfinite, spent)), 5)


def test_intervals_of_the_heat_map_and_of_curves_are_t_intervals(records, one):
    values = scores(records, F, "countdown")
    low, high = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / math.sqrt(5))
    heat = one["heatmap"][F]["countdown"]
    assert (heat["low"], heat["high"]) == (pytest.approx(low), pytest.approx(high))
    curve = one["curves"][F]["countdown"]
    assert curve["step"] == [0, 10, 20]
    assert (curve["mean"][-1], curve["low"][-1]) == (pytest.approx(values.mean()), pytest.approx(low))
    assert curve["mean"][0] == pytest.approx(0.2)


def test_profiles_are_shares_of_runs(records, one):
    profile = one["profiles"][G]
    runs = scores(records, G, "addition")
    assert len(profile["tau"]) == len(profile["value"]) == 51
    for tau, value in zip(profile["tau"], profile["value"], strict=True):
        assert value == pytest.approx((runs > tau).mean())


def test_pairs_are_paired_by_seed_and_prompt_and_corrected_together(records, one):
    assert [(row["a"], row["b"]) for row in one["pairs"]] == [(F, G), (F, R), (G, R)]

    def prompts(objective):
        cells = [records[f"cells/{id_of(objective, 'addition', 'embedded', seed)}"] for seed in SEEDS]
        return {"addition": np.array([[np.mean(cell.tasks[t]) for t in sorted(cell.tasks)] for cell in cells])}

    for row in one["pairs"]:
        expected = paired_difference(prompts(row["a"]), prompts(row["b"]), FEW)
        assert row["difference"] == expected.estimate.to_dict()
        assert row["p"] == expected.p_value
        assert row["difference"]["value"] == pytest.approx(
            (scores(records, row["a"], "addition") - scores(records, row["b"], "addition")).mean()
        )
        assert row["paired_by"] == "seeds and prompts"
        wins = scores(records, row["a"], "addition")[:, None] - scores(records, row["b"], "addition")[None]
        assert row["probability_of_improvement"]["value"] == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean())
    p = sorted(row["p"] for row in one["pairs"])
    steps = np.maximum.accumulate([3 * p[0], 2 * p[1], p[2]])
    assert sorted(row["p_holm"] for row in one["pairs"]) == pytest.approx(np.minimum(steps, 1))
    assert one["minimum_detectable_effect"] == pytest.approx(
        np.median([row["minimum_detectable_effect"] for row in one["pairs"]])
    )


def test_a_large_difference_is_better_only_with_an_interval(records):
    wide = {name: shifted(cell, 0.7 if cell.objective == F else 0.1) for name, cell in table_records(fail=()).items()}
    (one,) = tables(wide)["comparisons"]
    assert one["left_out"] == []
    verdicts = {(row["a"], row["b"]): row["verdict"] for row in one["pairs"]}
    assert (verdicts[F, G], verdicts[F, R], verdicts[G, R]) == ("better", "better", "inconclusive")
    assert all(row["paired_by"] == "seeds" for row in one["pairs"])  # no tasks in these records
    row = next(row for row in one["pairs"] if (row["a"], row["b"]) == (F, G))
    assert row["difference"]["low"] > 0
    back = tables(wide, matrix(objectives=[entry.model_dump() for entry in reversed(matrix().objectives)]))
    assert {(r["a"], r["b"]): r["verdict"] for r in back["comparisons"][0]["pairs"]}[G, F] == "worse"


def shifted(cell, score):
    """The record with another final score, a little different for each seed, and without tasks."""
    low, high = RANGES[cell.environment]
    final = low + (score + 0.01 * (cell.seed * (1 + OBJECTIVES.index(cell.objective)) % 5)) * (high - low)
    curve = cell.curve | {"score/sampled": [*cell.curve["score/sampled"][:2], final]}
    last = cell.final | {"score/sampled": final}
    return cell.model_copy(update={"curve": curve, "final": last, "tasks": {}})


def test_one_seed_is_inconclusive():
    found = tables(table_records(SEEDS[:1], fail=()), matrix(seeds=[11]))
    (one,) = found["comparisons"]
    assert {row["verdict"] for row in one["pairs"]} == {"inconclusive"}
    assert {row["difference"]["note"] for row in one["pairs"]} == {"one seed: no interval"}
    assert {(row["p"], row["p_holm"], row["minimum_detectable_effect"]) for row in one["pairs"]} == {(None, None, None)}
    assert one["leaderboard"][0]["iqm"]["low"] is None


def test_one_objective_has_no_rank():
    only = matrix(objectives=[matrix().objectives[0].model_dump()])
    records = {name: cell for name, cell in table_records().items() if cell.objective == F}
    (row,) = tables(records, only)["comparisons"][0]["leaderboard"]
    assert row["average_rank"]["note"] == "a rank needs two objectives"
    assert row["iqm"]["value"] is not None


def test_pass_at_k_counts_the_highest_score_as_correct(records, one):
    cell = records[f"cells/{id_of(F, 'countdown', 'embedded', 11)}"]
    wrong = [sum(score < 1 for score in row) for row in cell.tasks.values()]
    rates = one["after"][F]["countdown"]["pass"]
    assert list(rates) == ["1", "2", "4"]
    others = [records[f"cells/{id_of(F, 'countdown', 'embedded', seed)}"] for seed in SEEDS]
    by_hand = [np.mean([1 - math.comb(sum(s < 1 for s in row), 2) / 6 for row in c.tasks.values()]) for c in others]
    assert by_hand[0] == pytest.approx(np.mean([1 - math.comb(w, 2) / 6 for w in wrong]))
    assert rates["2"]["value"] == pytest.approx(np.mean(by_hand))
    assert rates["1"]["value"] == pytest.approx(scores(records, F, "countdown").mean())
    assert "countdown" not in one["after"][G]


def test_pass_at_k_beside_the_best_of_the_untrained_model(one):
    best = one["after"][F]["addition"]["untrained_pass"]
    assert best["4"] == {"value": pytest.approx(0.45), "low": 0.1, "high": 0.9, "temperature": "greedy"}
    row = next(r for r in one["sharpening"] if (r["objective"], r["environment"], r["k"]) == (F, "addition", 4))
    assert row["difference"]["value"] == pytest.approx(one["after"][F]["addition"]["pass"]["4"]["value"] - 0.45)
    assert row["verdict"] in ("better", "inconclusive")
    assert {r["k"] for r in one["sharpening"]} == {1, 4}


def test_divergences_of_the_trained_policies(records, one):
    after = after_of(records)
    each = [np.array(after[f"cells/{id_of(F, 'addition', 'embedded', seed)}"]["log_ratio"]) for seed in SEEDS]
    k3 = [np.mean(np.exp(-w) - 1 + w) for w in each]
    kl = one["after"][F]["addition"]["divergences"]["kl"]
    assert kl["estimate"] == pytest.approx(np.mean(k3))
    assert kl["standard_error"] == pytest.approx(np.std(k3, ddof=1) / math.sqrt(5))
    assert (kl["beyond_guard"], kl["note"], kl["seeds"]) == (0.0, "", 5)
    names = {entry.name for entry in fg.list_entries("divergence") if entry.status == "ok"}
    assert one["after"][F]["addition"]["divergences"].keys() == names
    means = [np.mean([1 + 0.01 * i for i in range(1, 24)])]
    assert one["after"][F]["addition"]["entropy"]["value"] == pytest.approx(means[0])


def test_heavy_tails_and_overflow_are_said(records):
    after = after_of(records)
    name = f"cells/{id_of(F, 'addition', 'embedded', 11)}"
    after[name]["log_ratio"][0] = 40.0
    after[name]["log_ratio"][1] = 900.0
    found = tables(records, after=after)["comparisons"][0]["after"][F]["addition"]["divergences"]
    pearson, kl, hellinger = found["pearson"], found["kl"], found["hellinger"]
    assert "the estimate does not fit in a number: heavy tails" in pearson["note"]  # a term e^900
    assert (pearson["estimate"], pearson["standard_error"]) == (None, None)
    assert kl["estimate"] is not None  # k3 grows like the log-ratio
    assert kl["largest_share"] == pytest.approx(899 / sum_of_k3(after), rel=1e-6)
    assert "one response makes 9" in kl["note"]
    guarded = fg.get_divergence("hellinger")
    assert hellinger["beyond_guard"] == guarded.share_beyond_guard(torch.tensor([40.0, 900.0])) * 2 / 120


def sum_of_k3(after):
    cells = [after[f"cells/{id_of(F, 'addition', 'embedded', seed)}"] for seed in SEEDS]
    w = np.concatenate([cell["log_ratio"] for cell in cells])
    return np.sum(np.exp(-w) - 1 + w)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "0" * 64}, "another record"),
        ({"tokens": [1]}, "tokens has 1 values for 24 responses"),
        ({"log_ratio": None}, "log_ratio has None values"),
        ({"entropy": [math.nan] * 24}, "no finite number"),
        ({"tokens": [True] * 24}, "no finite number"),
        ({"tokens": [10**400] * 24}, "no finite number"),
    ],
)
def test_an_after_that_does_not_fit_is_refused(records, change, message):
    after = after_of(records)
    after[f"cells/{id_of(F, 'addition', 'embedded', 11)}"].update(change)
    with pytest.raises(BenchError, match=message):
        tables(records, after=after)


def test_drift_is_compared_where_all_objectives_have_the_same_score(records, one):
    (drift,) = one["drift"]
    level = min(scores(records, o, "addition").mean() for o in OBJECTIVES)
    assert drift["level"] == pytest.approx(level)
    steps, values = [], []
    for seed in SEEDS:
        cell = records[f"cells/{id_of(G, 'addition', 'embedded', seed)}"]
        place = next((i for i, y in enumerate(cell.curve["score/sampled"]) if y >= level - 1e-12), None)
        if place is not None:
            steps.append(cell.curve["step"][place])
            values.append(cell.curve["divergence/kl"][place])
    row = next(row for row in drift["rows"] if row["objective"] == G)
    assert (row["reached"], row["step"]) == (len(steps), np.median(steps))
    assert row["divergences"]["kl"]["value"] == pytest.approx(np.mean(values))
    assert row["divergences"].keys() == set(DIVERGENCES)
    assert {row["verdict"] for row in drift["pairs"]} <= {"higher", "lower", "inconclusive"}


def test_a_run_that_samples_nothing_spends_no_tokens_until_the_target(records, one):
    name = f"cells/{id_of(F, 'addition', 'embedded', SEEDS[0])}"
    free = {
        cell: r.model_copy(update={"budget": r.budget.model_copy(update={"tokens": 0, "verifications": 0})})
        for cell, r in records.items()
        if r.objective == F and r.budget is not None
    }
    assert name in free
    row = next(r for r in tables(records | free)["comparisons"][0]["leaderboard"] if r["objective"] == F)["to_target"]
    own = next(r for r in one["leaderboard"] if r["objective"] == F)["to_target"]
    assert own["tokens"]["addition"]["value"] > 0
    assert (row["tokens"]["addition"]["value"], row["verifications"]["addition"]["value"]) == (0.0, 0.0)
    assert row["seconds"] == own["seconds"]


def test_values_of_another_type_are_other_trials(records):
    rows = [{**row, "options": {"trainer.x": value}} for row, value in zip(TUNING["trials"], (1, 1.0), strict=False)]
    rows = [{**row, "objective": F, "trial": number} for number, row in enumerate(rows)]
    found = tables(records, tuning={**TUNING, "trials": rows, "chosen": {F: {"trainer.x": 1.0}}})["tuning"]["rows"]
    assert [row["chosen"] for row in found] == [False, True]


def test_random_reward_is_paired_with_the_untrained_model(records, found):
    (row,) = found["controls"]["random_reward"]
    cells = [records[f"controls/{id_of(G, 'addition', 'embedded', seed, suffix='random-reward')}"] for seed in (11, 12)]
    gains = [cell.final["score/sampled"] - cell.curve["score/sampled"][0] for cell in cells]
    assert row["difference"]["value"] == pytest.approx(np.mean(gains))
    assert row["p"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, rel=0.05)
    assert (row["objective"], row["environment"], row["seeds"]) == (G, "addition", [11, 12])


def test_the_noise_floor_is_the_difference_of_equal_cells(records, found):
    rows = found["controls"]["noise_floor"]
    assert [(row["seed"], row["difference"], row["changed_responses"]) for row in rows] == [(11, 0, 0), (12, 0, 0)]
    name = f"controls/{id_of(G, 'addition', 'embedded', 11, suffix='again')}"
    again = records[name]
    tasks = {task: list(values) for task, values in again.tasks.items()}
    first = next(iter(tasks))
    before = tasks[first][0]
    tasks[first][0] = 1 - before
    score = again.final["score/sampled"] + (1 - 2 * before) / 24
    curve = again.curve | {"score/sampled": [*again.curve["score/sampled"][:2], score]}
    changes = {"tasks": tasks, "curve": curve, "final": again.final | {"score/sampled": score}}
    row = tables(records | {name: again.model_copy(update=changes)})["controls"]["noise_floor"][0]
    assert row["difference"] == pytest.approx((1 - 2 * before) / 24)
    assert row["changed_responses"] == pytest.approx(1 / 24)


def test_the_updates_of_the_controls_are_compared_by_seed(records):
    others = {}
    for environment, shift in (("addition", 0.1), ("countdown", -0.2)):
        for seed in (13, 14):
            name = id_of(G, environment, "embedded", seed, suffix="other-updates")
            other = fabricated.record(name, G, environment, seed, kind="control", updates=4)
            score = records.get(f"cells/{name.removesuffix('--other-updates')}").final or {"score/sampled": 0.0}
            final = {**other.final, "score/sampled": score["score/sampled"] - shift - 0.01 * seed}
            others[f"controls/{name}"] = other.model_copy(update={"final": final})
    (row,) = tables(records | others)["controls"]["updates"]
    assert (row["objective"], row["a"], row["b"]) == (G, 1, 4)
    assert row["environments"] == ["addition"]  # the table's cell on countdown with seed 14 has failed
    assert row["difference"]["value"] == pytest.approx(0.1 + 0.135)
    assert row["means"][0] - row["means"][1] == pytest.approx(0.235)
    (row,) = tables(records | {name: o for name, o in others.items() if "seed13" in name})["controls"]["updates"]
    assert row["environments"] == ["addition", "countdown"]
    assert row["difference"]["value"] == pytest.approx((0.1 + 0.13 + (-0.2 + 0.13) / 2) / 2)
    assert (row["verdict"], row["difference"]["low"]) == ("inconclusive", None)


def test_the_true_score_is_compared_with_its_peak(one):
    rows = {(row["objective"], row["environment"]): row for row in one["true_score"]}
    assert rows.keys() == {(F, "countdown"), (R, "countdown")}
    row = rows[F, "countdown"]
    assert row["peak"]["step"] == 10
    assert row["peak"]["value"] == pytest.approx(np.mean([0.3 + 0.001 * s for s in SEEDS]))
    assert row["true_score"]["value"] == pytest.approx(np.mean([0.25 - 0.002 * s for s in SEEDS]))
    change = row["since_peak"]
    assert change["difference"]["value"] == pytest.approx(-0.05 - 0.003 * 13)
    assert change["verdict"] == "lower"


def test_the_tuning_is_normalised_and_a_trial_with_a_failed_cell_has_no_value(found):
    rows = {(row["objective"], row["trial"]): row for row in found["tuning"]["rows"]}
    assert rows[F, 1]["value"] == pytest.approx((0.1 + (0.1 + 1) / 2) / 2)
    assert (rows[R, 0]["value"], rows[R, 0]["failed"]) == (None, 1)
    assert [row["chosen"] for row in rows.values()] == [False, False, True] * 3
    assert found["tuning"]["at_edge"][F] == ["trainer.learning_rate"]


def test_two_ways_to_use_a_rollout_are_two_comparisons_with_paired_differences():
    ways = [{"minibatches": 1}, {"minibatches": 4}]
    records = {}
    for objective in OBJECTIVES:
        for environment in ENVIRONMENTS:
            for count in (1, 4):
                for seed in SEEDS:
                    name = f"cells/{id_of(objective, environment, 'embedded', seed, count)}"
                    gain = 0.6 if count == 4 else 0.1
                    records[name] = fabricated.record(name, objective, environment, seed, gain=gain, updates=count)
    found = tables(records, matrix(updates=ways))
    assert found["updates"] == [1, 4]
    assert [c["updates"] for c in found["comparisons"]] == [1, 4]
    rows = found["controls"]["updates"]
    assert [(row["objective"], row["a"], row["b"], row["verdict"]) for row in rows] == [
        (o, 1, 4, "worse") for o in OBJECTIVES
    ]

    def mean(count):
        cells = [r for r in records.values() if r.objective == G and r.updates == count]
        return np.mean([(r.final["score/sampled"] - RANGES[r.environment][0]) / np.ptp(RANGES[r.environment])
                        for r in cells])  # fmt: skip

    row = next(row for row in rows if row["objective"] == G)
    assert row["difference"]["value"] == pytest.approx(mean(1) - mean(4))


def test_a_record_of_another_place_is_refused(records):
    name = "cells/grpo--addition--embedded--seed11"
    moved = records | {name: records["cells/grpo--addition--embedded--seed12"]}
    with pytest.raises(BenchError, match="has seed = 12, expected 11"):
        tables(moved)
    with pytest.raises(BenchError, match="of no cell of the matrix"):
        tables(records | {"cells/x": records[name]})


def test_failed_controls_are_named_and_not_counted(records):
    name = f"controls/{id_of(G, 'addition', 'embedded', 11, suffix='again')}"
    broken = failed(name, G, "addition", 11).model_copy(update={"kind": "control"})
    found = tables(records | {name: broken})
    assert [m["cell"] for m in found["missing"]] == [BAD, name]
    assert [row["seed"] for row in found["controls"]["noise_floor"]] == [12]


def test_environments_tell_their_range():
    assert ranges_of(matrix()) == {"addition": (0.0, 1.0), "countdown": (0.0, 1.0)}


def test_an_error_of_blanks_has_a_reason():
    records = table_records(fail=())
    records[BAD] = failed(BAD, *FAILED, error=" \n ")
    assert tables(records)["missing"] == [{"cell": BAD, "why": "no message"}]
