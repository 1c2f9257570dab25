"""A model that vLLM's CPU kernels can serve (they have none for heads of width 16), and engines on it."""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # eager kernels: the engine starts in seconds

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    missing = importlib.util.find_spec("vllm") is None
    for item in items:
        if HERE in Path(item.path).parents and item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # vLLM's and its dependencies'
            if missing:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: make test-vllm"))


@pytest.fixture
def model():
    return build_model()


def build_model():
    """A random Qwen3 of two layers, in fp32; three dozen tokens."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from fdiv_gym.testing.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config).float().eval()
    with torch.no_grad():
        model.model.norm.weight.mul_(3.0)  # logits far from uniform
    return model


@pytest.fixture
def tokenizer():
    from fdiv_gym.testing.tiny import tiny_tokenizer

    return tiny_tokenizer()


@pytest.fixture
def started(model, tokenizer):
    """A function that starts an engine with options; closed at the end."""
    import fdiv_gym as fg

    engines = []

    def start(plugin="vllm", **options):
        engine = fg.get_engine(plugin, max_new_tokens=12, cache_mb=32, **options)
        engines.append(engine)
        engine.start(model, tokenizer)
        return engine

    yield start
    for engine in engines:
        engine.close()
