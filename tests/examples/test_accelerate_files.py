"""The files of examples/accelerate: read by accelerate's launcher, and the Slurm script with stubs in its PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import typer.main

from fdiv_gym.cli.main import app
from fdiv_gym.runs.config import load_config

ROOT = Path(__file__).parents[2]
FILES = ROOT / "examples" / "accelerate"


def launched(arguments: list[str]):
    """The arguments of ``accelerate launch`` after its own parser and the configuration file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    return args


def test_one_machine_has_a_process_for_each_gpu():
    args = launched(["--config_file", str(FILES / "one_machine.yaml"), "-m", "fdiv_gym", "train", "x.toml"])
    assert (args.multi_gpu, args.num_machines, args.num_processes) == (True, 1, 8)
    assert (args.mixed_precision, args.use_fsdp, args.use_deepspeed, args.cpu) == ("no", False, False, False)
    assert (args.module, args.training_script, args.training_script_args) == (True, "fdiv_gym", ["train", "x.toml"])


@pytest.fixture
def cluster(tmp_path):
    """Runs the Slurm script as both nodes would; the arguments of ``accelerate`` on each."""
    stubs = tmp_path / "bin"
    stubs.mkdir()
    scripts = {
        "scontrol": '#!/bin/bash\necho "$3" | tr "," "\\n"\n',
        "srun": '#!/bin/bash\nshift\nfor node in 0 1; do SLURM_NODEID=$node "$@" || exit 1; done\n',
        # The first process of a run makes its folder, and the second node may start after that.
        "accelerate": '#!/bin/bash\nprintf "%s\\n" "$@" > "$STUB_OUTPUT/$SLURM_NODEID"\n'
        'mkdir -p "$RUN_FOLDER" && touch "$RUN_FOLDER/config.json"\n',
    }
    for name, text in scripts.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    found = {
        "PATH": f"{stubs}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "gpu-a,gpu-b", "STUB_OUTPUT": str(tmp_path),
    }  # fmt: skip

    def submit(*arguments: str) -> list[list[str]]:
        command = ["bash", str(FILES / "two_nodes.sbatch"), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | found, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return [(tmp_path / str(node)).read_text().splitlines() for node in range(2)]

    return submit


def test_the_slurm_script_starts_both_nodes(cluster, tmp_path):
    run_file, folder = "examples/accelerate/two_nodes.toml", str(tmp_path / "run")
    for node, words in enumerate(cluster(run_file, folder)):
        assert words[0] == "launch"
        args = launched([str(ROOT / w) if w.endswith(".yaml") else w for w in words[1:]])
        assert (args.num_machines, args.num_processes, args.multi_gpu) == (2, 16, True)
        assert (args.machine_rank, args.main_process_ip, args.main_process_port) == (node, "gpu-a", 29500)
        assert args.training_script == "fdiv_gym"
        assert args.training_script_args == ["train", run_file, "--output", folder]


def test_the_slurm_script_resumes_a_run_that_exists(cluster, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for words in cluster("ignored.toml", str(folder)):
        arguments = words[words.index("fdiv_gym") + 2 :]
        assert arguments == ["--resume", str(folder), "--trust-endpoints"]
        typer.main.get_command(app).commands["train"].make_context("train", arguments)


def test_the_slurm_script_needs_its_arguments(cluster):
    with pytest.raises(AssertionError, match="usage: sbatch"):
        cluster("only.toml")


def test_the_run_file_of_two_nodes_is_valid():
    config = load_config(FILES / "two_nodes.toml")
    assert len(config.engine.options.servers) == 2
    assert config.trainer.options.prompts_per_step % 16 == 0
    assert config.trainer.options.correction == "token"


@pytest.mark.parametrize(("page", "words"), [("nodes", "**Not run:**"), ("recipes", "**Untested.**")])
def test_pages_on_what_was_not_run_say_so_first(page, words):
    text = (ROOT / "docs" / "guides" / f"{page}.md").read_text(encoding="utf-8")
    assert words in text.split("\n## ")[0]
    if page == "recipes":
        assert all(part.split("\n\n")[1].startswith("Untested") for part in text.split("\n## ")[1:])
