"""Sheets: the tables of a comparison as rows and columns, which every format of the report writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdiv_gym.bench.sheet import (
    SCORE,
    VERDICTS,
    Cell,
    Sheet,
    count,
    detectable_note,
    estimate,
    judgement,
    quantity,
    words,
)


def sheets_of(tables: Mapping[str, Any]) -> list[Sheet]:
    """The sheets of a comparison in the order of the report; those without a row are left out."""
    found: list[Sheet] = []
    several = len(tables["comparisons"]) > 1
    for place, comparison in enumerate(tables["comparisons"], 1):
        where = f" ({comparison['model']}, updates {comparison['updates']})" if several else ""
        for make in OF_COMPARISON:
            sheet = make(comparison)
            name = f"{sheet.name}-{place}" if several else sheet.name
            found.append(
                Sheet(name, sheet.title + where, sheet.columns, sheet.rows, sheet.note, sheet.keys, sheet.section)
            )
    controls = tables["controls"]
    found += [_random_reward(controls), _noise_floor(controls), _updates(controls), _untrained(controls)]
    found += [_missing(tables), _tuning(tables.get("tuning") or {})]
    return [sheet for sheet in found if sheet.rows]


def _leaderboard(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [
            words(row["objective"]),
            *(estimate(row[name]) for name in ("iqm", "mean", "median", "optimality_gap")),
            estimate(row["average_rank"], 2),
            estimate(row["relative_overall"], 1),
            count(row["failed"]),
        ]
        for row in comparison["leaderboard"]
    ]
    columns = ("objective", "IQM", "mean", "median", "optimality gap", "average rank", "relative overall, %", "failed")
    over = ", ".join(comparison["environments"]) or "none"
    left = f" Left out for all objectives, because a cell has no score: {', '.join(comparison['left_out'])}."
    note = (
        f"Final scores, normalised, over the environments: {over}.{left if comparison['left_out'] else ''} Intervals "
        "of 95 %: a bootstrap over seeds, stratified by environment; with few seeds too narrow. The order says nothing "
        "about which objective is better: that is in the comparisons. Average rank and relative overall depend on "
        "which objectives are in the table."
    )
    without = comparison["without_gain"]
    if without:
        note += f" Relative overall leaves out {', '.join(without)}: no objective is above the untrained model."
    return Sheet("leaderboard", "Leaderboard", columns, rows, note)


def _pairs(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(row["a"]), words(row["b"]), *judgement(row), estimate(row["probability_of_improvement"], 2),
         quantity(row["minimum_detectable_effect"], SCORE)]
        for row in comparison["pairs"]
    ]  # fmt: skip
    unit = comparison["pairs"][0]["paired_by"] if comparison["pairs"] else "seeds"
    note = (
        f"Differences paired by {unit}, 95 % t intervals; p-values after Holm's correction over this table. {VERDICTS}"
    )
    columns = ("A", "B", "A - B", "p", "p, Holm", "A is", "P(A > B)", "detectable")
    return Sheet("pairs", "Comparisons", columns, rows, f"{note} {detectable_note(comparison)}", keys=2)


def _heatmap(comparison: Mapping[str, Any]) -> Sheet:
    heat = comparison["heatmap"]
    columns = list(next(iter(heat.values()), {}))
    rows = [[words(o), *(estimate({**c, "value": c["mean"]}, heat=True) for c in e.values())] for o, e in heat.items()]
    note = "Mean final score over seeds, normalised, with its 95 % t interval. '-': a seed has no score."
    return Sheet("heatmap", "Objectives by environments", ("objective", *columns), rows, note)


def _seeds(comparison: Mapping[str, Any]) -> Sheet:
    rows, columns = [], []
    for objective, environments in comparison["heatmap"].items():
        for environment, cell in environments.items():
            columns = list(cell["seeds"])
            shown = (quantity(score, SCORE) for score in cell["seeds"].values())
            rows.append([words(objective), words(environment), *shown])
    names = ("objective", "environment", *(f"seed {seed}" for seed in columns))
    return Sheet("seeds", "Scores of all seeds", names, rows, "Final scores, normalised.", keys=2)


def _learning(comparison: Mapping[str, Any]) -> Sheet:
    rows = []
    for row in comparison["leaderboard"]:
        tokens = row["to_target"]["tokens"]
        for environment, rate in row["rates"].items():
            spent = [row["to_target"][kind].get(environment, {}) for kind in ("tokens", "verifications", "seconds")]
            target = tokens.get(environment, {})
            reached = f"{target['reached']} of {target['seeds']}" if target.get("target") is not None else "-"
            rows.append(
                [words(row["objective"]), words(environment), quantity(rate), quantity(target.get("target"), SCORE),
                 words(reached), *(quantity(each.get("value")) for each in spent)]
            )  # fmt: skip
    columns = ("objective", "environment", "learning rate", "target", "reached", "tokens", "verifications", "seconds")
    note = (
        "The target of an environment is half of the best objective's gain over the untrained model. Spent at the "
        "first evaluation at the target, median over seeds; '-': half of the seeds or more never reach it."
    )
    return Sheet("to-target", "Spent until the target", columns, rows, note, keys=2, section="learning")


def _speed(comparison: Mapping[str, Any]) -> Sheet:
    rows = [[words(r["objective"]), estimate(r["auc"]), estimate(r["ceiling"])] for r in comparison["leaderboard"]]
    note = (
        "AUC: mean height of the learning curve. Ceiling: highest evaluation of a run, which is the larger the noisier "
        "the evaluations are. Means over runs, bootstrap intervals of 95 %."
    )
    columns = ("objective", "AUC", "ceiling")
    return Sheet("learning", "Area under the curve and ceiling", columns, rows, note, section="learning")


def _policies(comparison: Mapping[str, Any]) -> Sheet:
    cells = [cell for environments in comparison["after"].values() for cell in environments.values()]
    ks, rows = sorted({int(k) for cell in cells for k in cell["pass"]}), []
    for objective, environments in comparison["after"].items():
        for environment, cell in environments.items():
            missing = {"value": None, "low": None, "high": None}
            trained = [estimate(cell["pass"].get(str(k), missing)) for k in ks]
            before = [quantity(cell["untrained_pass"].get(str(k), {}).get("value"), SCORE) for k in ks]
            both = [each for pair in zip(trained, before, strict=True) for each in pair]
            shown = [*both, estimate(cell["entropy"]), estimate(cell["tokens"], 1)]
            rows.append([words(objective), words(environment), *shown])
    names = [name for k in ks for name in (f"pass@{k}", f"untrained pass@{k}")]
    columns = ("objective", "environment", *names, "entropy, nats a token", "tokens")
    note = (
        "pass@k of the last evaluation's responses, mean over seeds with 95 % t intervals, beside the untrained "
        "model's highest over its temperatures. Entropy of the next token and length of a response after training."
    )
    return Sheet("policies", "After training", columns, rows, note, keys=2, section="policies")


def _sharpening(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(r["objective"]), words(r["environment"]), count(r["k"]), estimate(r["trained"]),
         quantity(r["untrained"]["value"], SCORE), *judgement(r)]
        for r in comparison["sharpening"]
    ]  # fmt: skip
    columns = ("objective", "environment", "k", "trained", "untrained", "difference", "p", "p, Holm", "trained is")
    note = (
        "pass@k after training minus the untrained model's best over temperatures, which is taken as exact: the "
        f"interval is over seeds of training only. {VERDICTS}"
    )
    return Sheet("sharpening", "Did it only sharpen?", columns, rows, note, keys=3, section="policies")


def _divergences(comparison: Mapping[str, Any]) -> Sheet:
    rows = []
    for objective, environments in comparison["after"].items():
        for environment, cell in environments.items():
            for name, found in cell["divergences"].items():
                shown = [quantity(found["estimate"]), quantity(found["standard_error"])]
                beyond, largest = quantity(found["beyond_guard"]), quantity(found["largest_share"], 2)
                warning = words(found["note"]) if found["note"] else Cell("")
                rows.append([words(objective), words(environment), words(name), *shown, beyond, largest, warning])
    columns = ("objective", "environment", "divergence", "estimate", "standard error", "beyond guard", "largest share",
               "warning")  # fmt: skip
    note = "D_f(policy || reference) of the last policies. Largest share: of one response in the sum of all terms."
    title = "Divergence from the reference"
    return Sheet("divergences", title, columns, rows, note, keys=3, section="divergence")


def _drift(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(drift["environment"]), words(row["objective"]), quantity(drift["level"], SCORE),
         words(f"{row['reached']} of {row['seeds']}"), quantity(row["step"]),
         estimate(row["divergences"].get("kl", {"value": None, "low": None, "high": None}), 4)]
        for drift in comparison["drift"]
        for row in drift["rows"]
    ]  # fmt: skip
    notes = [f"{drift['environment']}: {drift['note']}." for drift in comparison["drift"] if drift["note"]]
    note = (
        "kl from the reference at the first evaluation whose score is at least the level, the lowest final mean of the "
        f"objectives; over the seeds that reach it. {' '.join(notes)}"
    )
    columns = ("environment", "objective", "level", "reached", "step", "kl, nats")
    return Sheet("drift", "Drift at equal reward", columns, rows, note, keys=2, section="divergence")


def _drift_pairs(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(drift["environment"]), words(row["a"]), words(row["b"]), *judgement(row, 4)]
        for drift in comparison["drift"]
        for row in drift["pairs"]
    ]
    columns = ("environment", "A", "B", "A - B, nats", "p", "p, Holm", "A is")
    note = f"Between objectives of which every seed reaches the level; corrected by environment. {VERDICTS}"
    title = "Drift at equal reward, comparisons"
    return Sheet("drift-pairs", title, columns, rows, note, keys=3, section="divergence")


def _true_score(comparison: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(row["objective"]), words(row["environment"]), estimate(row["score"]), estimate(row["true_score"]),
         count(row["peak"]["step"]), estimate(row["peak"]), *judgement(row["since_peak"])]
        for row in comparison["true_score"]
    ]  # fmt: skip
    columns = ("objective", "environment", "score", "true score", "peak at step", "peak of the true score",
               "since the peak", "p", "p, Holm", "true score is")  # fmt: skip
    note = (
        "A true score that falls while the score rises is a reward that was hacked. The peak is the largest of noisy "
        "means, so the change since then is biased downwards."
    )
    return Sheet("true-score", "Score and true score", columns, rows, note, keys=2, section="hacking")


OF_COMPARISON: Sequence[Callable[[Mapping[str, Any]], Sheet]] = (
    _leaderboard, _pairs, _heatmap, _seeds, _speed, _learning, _policies, _sharpening, _divergences, _drift,
    _drift_pairs, _true_score,
)  # fmt: skip


def _random_reward(controls: Mapping[str, Any]) -> Sheet:
    rows = [
        [*_place(row), estimate(row["trained"]), quantity(row["untrained"], SCORE), *judgement(row)]
        for row in controls["random_reward"]
    ]
    columns = ("objective", "environment", "model", "updates", "trained", "untrained", "difference", "p", "p, Holm",
               "trained is")  # fmt: skip
    note = (
        "Trained on a drawn reward and evaluated with the true one, minus the same run before training. A difference "
        f"here is not due to the reward. {VERDICTS}"
    )
    return Sheet("random-reward", "Random reward", columns, rows, note, keys=4, section="controls")


def _noise_floor(controls: Mapping[str, Any]) -> Sheet:
    rows = [
        [*_place(row), count(row["seed"]), quantity(row["original"], SCORE), quantity(row["again"], SCORE),
         quantity(row["difference"], 4), quantity(row["changed_responses"], SCORE)]
        for row in controls["noise_floor"]
    ]  # fmt: skip
    columns = ("objective", "environment", "model", "updates", "seed", "score", "again", "difference",
               "responses scored otherwise")  # fmt: skip
    note = "The same configuration and seed twice. A smaller difference of objectives is not told from noise."
    return Sheet("noise-floor", "Noise floor", columns, rows, note, keys=5, section="controls")


def _updates(controls: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(row["objective"]), words(row["model"]), count(row["a"]), count(row["b"]),
         *(quantity(mean, SCORE) for mean in row["means"]), *judgement(row)]
        for row in controls["updates"]
    ]  # fmt: skip
    columns = ("objective", "model", "A: updates", "B: updates", "A", "B", "A - B", "p", "p, Holm", "A is")
    note = f"Optimizer steps of a rollout, paired by seed over the environments that are complete in both. {VERDICTS}"
    return Sheet("updates", "Updates of a rollout", columns, rows, note, keys=4, section="controls")


def _untrained(controls: Mapping[str, Any]) -> Sheet:
    sweeps, rows = controls["untrained"], []
    names = list(dict.fromkeys(name for sweep in sweeps for row in sweep["rows"] for name in row["metrics"]))
    for sweep in sweeps:
        for row in sweep["rows"]:
            cells = [
                estimate({"low": None, "high": None, **row["metrics"][name]}) if name in row["metrics"] else Cell("-")
                for name in names
            ]
            rows.append([words(sweep["environment"]), words(sweep["model"]), words(row["temperature"]), *cells])
    note = "By temperature; 95 % intervals over tasks. An objective below it gained nothing over decoding."
    columns = ("environment", "model", "temperature", *names)
    return Sheet("untrained", "The untrained model", columns, rows, note, keys=3, section="controls")


def _missing(tables: Mapping[str, Any]) -> Sheet:
    rows = [[words(row["cell"]), words(row["why"])] for row in tables["missing"]]
    note = "They count in no number; an environment with such a cell counts in no aggregate of any objective."
    return Sheet("missing", "Cells without a score", ("cell", "why"), rows, note, section="failures")


def _tuning(tuning: Mapping[str, Any]) -> Sheet:
    rows = [
        [words(row["objective"]), count(row["trial"]), words(json.dumps(row["options"])),
         quantity(row["value"], SCORE), count(row["failed"]), words("yes" if row["chosen"] else "")]
        for row in tuning.get("rows", ())
    ]  # fmt: skip
    edges = [f"{objective}: {', '.join(keys)}" for objective, keys in (tuning.get("at_edge") or {}).items() if keys]
    note = (
        f"Method {tuning.get('method')}, metric {tuning.get('metric')} on validation tasks and seeds that the table "
        "does not use, mean over environments, models and tuning seeds."
    )
    if edges:
        note += f" Chosen at the edge of the values tried, so a better one may lie outside: {'; '.join(edges)}."
    columns = ("objective", "trial", "options", "value", "failed", "chosen")
    return Sheet("tuning", "Tuning", columns, rows, note, keys=2, section="tuning")


def _place(row: Mapping[str, Any]) -> list[Cell]:
    return [words(row["objective"]), words(row["environment"]), words(row["model"]), count(row["updates"])]
