"""A model folder with code of its own, and a user who answers yes to everything."""

import os
import subprocess
import sys

from fdiv_gym.models.embedded import character_tokenizer


def test_yes_to_everything_does_not_run_a_folders_code(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder, marker = tmp_path / "model", tmp_path / "ran"
    tokenizer = character_tokenizer()
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "hostile.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n")
    config = folder / "config.json"
    auto = '"auto_map": {"AutoConfig": "hostile.Config", "AutoModelForCausalLM": "hostile.Model"},'
    config.write_text(config.read_text().replace('"gpt2"', '"hostile"').replace("{", "{" + auto, 1))
    run = tmp_path / "run.toml"
    run.write_text('[env]\nid = "math/Addition-v0"\n')
    done = subprocess.run(
        [sys.executable, "-m", "fdiv_gym", "train", str(run), "--output", str(tmp_path / "out"),
         "--set", f"model.name_or_path={folder}"],
        input="y\n" * 100, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "model.trust_remote_code = true" in done.stderr
    assert not marker.exists()


HANGS = """
from fdiv_gym.models import template
from fdiv_gym.models.embedded import character_tokenizer
template.KILL_S = 1.0
tokenizer = character_tokenizer()
tokenizer.chat_template = "{{ 9 ** (9 ** (messages[0].content | length)) }}"
template.render(tokenizer, [{"role": "user", "content": "x" * 9}])
"""


def test_a_template_that_cannot_be_interrupted_ends_the_run_and_is_named():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120)
    assert done.returncode == -9
    assert "the tokenizer's chat template: rendering a chat of 1 messages takes more than 1.0 s" in done.stderr
