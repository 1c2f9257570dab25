"""A run, and its resumption, on a data set with a lone surrogate in a prompt and in an answer."""

import json
import subprocess
import sys


def test_a_run_and_its_resumption_go_on(tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"problem": f"{i}+1 cut \ud83d" if i % 2 else f"{i}+1", "answer": f"{i + 1}"} for i in range(8)]
    data.write_text("\n".join(map(json.dumps, rows)))
    config = tmp_path / "run.toml"
    config.write_text(
        f'[env]\nid = "math/Dataset-v0"\nsource = "{data}"\nprompt_column = "problem"\nanswer_column = "answer"\n'
        "[model.embedded]\nlayers = 1\nheads = 1\nwarm_start_steps = 2\n"
        "[engine]\nmax_new_tokens = 4\n"
        "[trainer]\nsteps = 2\nprompts_per_step = 4\ngroup_size = 2\nevaluate_tasks = 2\nevaluate_samples = 1\n"
        "checkpoint_every = 1\nmax_unscored = 1.0\n"
    )
    start = [sys.executable, "-m", "fdiv_gym", "train"]
    done = subprocess.run(
        [*start, str(config), "--output", str(tmp_path / "run")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "4 texts held lone surrogates, replaced by U+FFFD" in done.stderr
    assert "\\ufffd" in (tmp_path / "run" / "samples.jsonl").read_text().encode("ascii", "backslashreplace").decode()
    last = max((tmp_path / "run" / "checkpoints").iterdir())
    for file in sorted(last.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    last.rmdir()
    again = subprocess.run([*start, "--resume", str(tmp_path / "run")], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
