"""What training has done, against a computation of its own on a tiny model; and controls of a bench."""

import json

import pytest
import torch
from bench_harness import GRPO, small

import fdiv_gym as fg
from fdiv_gym.bench import expand, parse_matrix, run_cells
from fdiv_gym.bench.after import after_of, measure_after
from fdiv_gym.bench.controls import (
    control_cells,
    control_objective,
    measure_untrained,
    untrained_folders,
    untrained_of,
)
from fdiv_gym.bench.record import read_record
from fdiv_gym.evaluation.source import initial_model
from fdiv_gym.models import load_model, load_tokenizer
from fdiv_gym.runs import RunFolder

CHANGES = {
    "objectives": [GRPO],
    "seeds": [0],
    "base__engine": {"temperature": 0.7},
    "base__trainer": {"learning_rate": 0.01, "warmup_steps": 1, "prompts_per_step": 4, "group_size": 4},
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A bench of one cell that has run; its reward is drawn, since the tiny model would get none."""
    folder = tmp_path_factory.mktemp("bench")
    cells = control_cells(parse_matrix(small(**CHANGES)), {})[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        assert run_cells(cells, folder).done == (cells[0].id,)
    return folder, cells


def by_hand(model, tokenizer, line):
    """Log-prob and mean entropy of a response of one turn, token by token."""
    ids, total, entropies = tokenizer.encode(line["prompt"]), 0.0, []
    response = tokenizer.encode(line["response"])
    for token in [*response, *([tokenizer.eos_token_id] if line["stop_reason"] == "eos" else [])]:
        with torch.no_grad():
            p = (model(input_ids=torch.tensor([ids])).logits[0, -1].double() / 0.7).softmax(-1)
        total += float(p[token].log())
        entropies.append(-float((p * p.log()).nansum()))
        ids.append(token)
    return total, sum(entropies) / len(entropies), len(entropies)


@pytest.mark.slow
def test_after_is_what_the_two_models_give_token_by_token(bench):
    folder, cells = bench
    run = RunFolder(folder / cells[0].folder / "run")
    assert measure_after(cells, folder) == ()
    path = folder / cells[0].folder / "after.json"
    found, record = json.loads(path.read_text()), read_record(folder / cells[0].folder)
    assert found["key"] == record.key == cells[0].key
    models = [load_model(str(place)).eval() for place in (run.checkpoints()[-1] / "model", initial_model(run))]
    tokenizer = load_tokenizer(str(run.checkpoints()[-1] / "model"))
    lines = [x for x in run.lines("samples.jsonl") if (x["step"], x["split"], x["mode"]) == (2, "heldout", "sampled")]
    assert len(lines) == len(found["tokens"]) == 6
    lines.sort(key=lambda line: (line["index"], line["sample"]))
    assert [line["verdict"]["score"] for line in lines] == [s for scores in record.tasks.values() for s in scores]
    for i, line in enumerate(lines):
        (pi, entropy, tokens), (ref, _, _) = (by_hand(model, tokenizer, line) for model in models)
        assert found["tokens"][i] == tokens == line["tokens"]
        assert found["log_ratio"][i] == pytest.approx(pi - ref, abs=1e-5)
        assert found["entropy"][i] == pytest.approx(entropy, abs=1e-5)
        assert pi == pytest.approx(line["logprob"], abs=1e-4)
    assert max(map(abs, found["log_ratio"])) > 1e-3
    # Once written it is kept; for another record it is made again.
    before = path.stat().st_mtime_ns
    measure_after(cells, folder)
    assert path.stat().st_mtime_ns == before
    path.write_text(json.dumps({**found, "key": "0" * 64, "tokens": []}))
    measure_after(cells, folder)
    assert json.loads(path.read_text()) == found


@pytest.mark.slow
def test_a_response_of_other_tokens_has_no_log_ratio(bench, tmp_path):
    folder, cells = bench
    store = RunFolder(folder / cells[0].folder / "run")
    record, lines = read_record(folder / cells[0].folder), store.lines("samples.jsonl")
    last = [x for x in lines if (x["step"], x["split"], x["mode"]) == (2, "heldout", "sampled")]
    plain = after_of(store.path, record)
    try:
        last[0]["tokens"] += 1  # as if the text had been sampled as other tokens
        last[3]["logprob"] -= 5.0
        store.rewrite("samples.jsonl", lines)
        found = after_of(store.path, record)
        last[0]["verdict"]["score"] = 0.75
        store.rewrite("samples.jsonl", lines)
        with pytest.raises(fg.TrainerError, match="other scores"):
            after_of(store.path, record)
    finally:
        last[0]["tokens"] -= 1
        last[3]["logprob"] += 5.0
        last[0]["verdict"]["score"] = record.tasks[next(iter(record.tasks))][0]
        store.rewrite("samples.jsonl", lines)
    for name in ("log_ratio", "entropy"):
        assert [i for i, value in enumerate(found[name]) if value is None] == [0, 3]
        assert [value for i, value in enumerate(found[name]) if i not in (0, 3)] == pytest.approx(
            [value for i, value in enumerate(plain[name]) if i not in (0, 3)]
        )


@pytest.mark.slow
def test_the_untrained_model_is_that_of_the_runs(bench):
    folder, cells = bench
    changes = {**CHANGES, "controls": {"temperatures": [0.5, 1.0], "samples": 2}}
    matrix = parse_matrix(small(**changes))
    place = folder / untrained_folders(matrix)["addition", "embedded"]
    assert measure_untrained(matrix, cells, folder) == ()
    found = json.loads((place / "untrained.json").read_text())
    assert (found["environment"], found["model"]) == ("addition", "embedded")
    assert [row["temperature"] for row in found["rows"]] == ["greedy", 0.5, 1.0]
    assert set(found["rows"][1]["metrics"]) >= {"avg@2", "maj@2", "pass@1", "pass@2"}
    # The greedy responses are those of the run's first evaluation, before any step.
    run = RunFolder(folder / cells[0].folder / "run").lines("samples.jsonl")
    first = {x["task_hash"]: x["response"] for x in run if (x["step"], x["mode"]) == (0, "greedy")}
    greedy = RunFolder(place / "greedy").lines("samples.jsonl")
    assert {x["task_hash"]: x["response"] for x in greedy} == first
    before = (place / "untrained.json").stat().st_mtime_ns
    measure_untrained(matrix, cells, folder)
    assert (place / "untrained.json").stat().st_mtime_ns == before
    other = parse_matrix(small(**CHANGES, controls={"temperatures": [0.5], "samples": 2}))
    with pytest.raises(fg.ConfigError, match="holds the evaluation of another model"):
        measure_untrained(other, cells, folder)
    measure_untrained(other, cells, folder, rerun=True)
    assert len(json.loads((place / "untrained.json").read_text())["rows"]) == 2


def test_without_a_finished_cell_nothing_is_measured(tmp_path):
    matrix, lines = parse_matrix(small()), []
    cells = expand(matrix)
    assert measure_after(cells, tmp_path) == tuple(cell.id for cell in cells)
    assert measure_untrained(matrix, cells, tmp_path, say=lines.append) == tuple(untrained_folders(matrix).values())
    assert "no cell of addition and embedded is done" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_best_of_the_untrained_model_by_hand():
    def row(temperature, avg, maj):
        values = {"avg@4": avg, "maj@4": maj} if temperature else {"avg@1": avg, "maj@1": maj}
        metrics = {name: {"value": v, "low": v - 0.1, "high": v + 0.1, "tasks": 3} for name, v in values.items()}
        return {"temperature": temperature, "metrics": metrics}

    from fdiv_gym.evaluation.temperatures import best_of

    rows = [row(0.0, 0.4, 0.4), row(0.5, 0.3, 0.6), row(1.0, 0.2, 0.5)]
    found = untrained_of({"evaluations": rows, "best": best_of(rows)})
    assert found["best"] == {
        "single": {"temperature": "greedy", "value": 0.4},
        "majority": {"temperature": 0.5, "value": 0.6},
    }
    assert found["rows"][1]["metrics"]["maj@4"] == {"value": 0.6, "low": 0.5, "high": 0.7}


def test_control_cells_are_those_of_the_table_but_for_the_reward():
    updates = [{"updates_per_rollout": 1}, {"updates_per_rollout": 2}]
    matrix = parse_matrix(small(seeds=[3, 4], updates=updates, controls={"objective": "grpo", "seeds": [4]}))
    chosen = {"grpo": {"trainer.learning_rate": 1e-3}}
    table = {cell.id: cell for cell in expand(matrix, chosen=chosen)}
    drawn, again = control_cells(matrix, chosen)
    name = "grpo--addition--embedded--seed4--updates1"
    assert (drawn.id, again.id) == (f"{name}--random-reward", f"{name}--again")
    assert drawn.folder.startswith("controls/")
    assert again.key == table[name].key
    assert again.rate == drawn.rate == 1e-3
    true, other = table[name].config.resolved(), drawn.config.resolved()
    assert other["trainer"].pop("reward") == "drawn"
    assert true["trainer"].pop("reward") == "environment"
    assert true == other


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"seeds": [5]}, r"controls\.seeds: 5 is no seed of the table"),
        ({"objective": "gpro"}, r"controls\.objective: 'gpro' is no objective .*grpo"),
        ({"temperatures": [0.5, 0.5]}, r"0\.5 is given twice"),
        ({"temperatures": [0]}, "greater than 0"),
    ],
)
def test_wrong_controls_are_refused(controls, message):
    with pytest.raises(fg.ConfigError, match=message):
        parse_matrix(small(controls=controls))


def test_controls_can_be_switched_off():
    off = parse_matrix(small(controls={"random_reward": False, "noise_floor": False, "updates": False}))
    assert control_cells(off, {}) == []
    only = control_cells(parse_matrix(small(controls={"noise_floor": False, "updates": False})), {})
    assert [cell.id.rpartition("--")[2] for cell in only] == ["random-reward"]


@pytest.mark.parametrize(("own", "other"), [(None, 4), ([{"minibatches": 1}], 4), ([{"minibatches": 2}], 1)])
def test_the_control_of_updates_is_the_other_way_to_use_a_rollout(own, other):
    off = {"noise_floor": False, "random_reward": False}
    matrix = parse_matrix(small(controls={**off, "objective": "grpo"}, updates=own))
    (cell,) = control_cells(matrix, {"grpo": {"trainer.learning_rate": 1e-3}})
    trainer = cell.config.resolved()["trainer"]
    assert (trainer["updates_per_rollout"], trainer["minibatches"], cell.updates, cell.rate) == (1, other, other, 1e-3)
    assert cell.id.endswith("--other-updates")


def test_a_matrix_with_several_updates_needs_no_control_of_them():
    matrix = parse_matrix(small(updates=[{"minibatches": 1}, {"minibatches": 2}]))
    assert [cell.id.rpartition("--")[2] for cell in control_cells(matrix, {})] == ["random-reward", "again"]


def test_an_objective_without_rollouts_has_no_random_reward():
    preferences = {"label": "fdo", "objective": {"name": "fdo"}, "preferences": {"path": "pairs.jsonl"}}
    values = small(objectives=[preferences, GRPO])
    assert control_objective(parse_matrix(values)).label == "grpo"
    with pytest.raises(fg.ConfigError, match=r"not the objective 'fdo' reads rollouts"):
        control_objective(parse_matrix({**values, "controls": {"objective": "fdo"}}))
