"""On a CUDA device: the same run, the same log-probs and gradients as on the CPU, and bf16 close to fp32."""

import copy

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest_trainer import tiny_config, train
from events_harness import run

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.logprobs import LogitRule, chunked_logps
from fdiv_gym_accelerate.policy import token_scores
from fdiv_gym_accelerate.streams import rollout_stream

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def policy(tiny):
    """The tiny model on the device; the fixture of the session stays on the CPU."""
    return copy.deepcopy(tiny[0]).to(DEVICE)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-3), ("bf16", 0.2), ("bf16_full", 0.2)])
def test_a_run_on_the_gpu_is_on_policy(tmp_path, precision, bound):
    result = train(tiny_config(trainer__precision=precision), tmp_path / "run")
    lines = RunFolder(result.folder).lines("metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert max(line["engine/logprob_gap"] for line in lines) < bound


def test_one_step_changes_the_weights_and_the_engine_follows(tmp_path):
    found = run(tmp_path, 2, objective="f-grpo", learning_rate=1e-2)
    assert not found.error
    assert found.lines[0]["grad_norm"] > 0
    assert found.lines[1]["engine/logprob_gap"] < 1e-3  # step 2 samples with the weights of step 1


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_log_probs_in_chunks_have_the_values_and_gradients_of_whole_logits(compute, monkeypatch):
    monkeypatch.setattr("fdiv_gym_accelerate.logprobs.CHUNK_ELEMENTS", {"cpu": 4096, "cuda": 4096})  # several chunks
    torch.manual_seed(0)
    states = torch.randn(40, 32, device=DEVICE, dtype=compute).requires_grad_()
    weight = (torch.randn(1000, 32, device=DEVICE, dtype=compute) / 4).requires_grad_()
    targets, slopes = torch.randint(1000, (40,), device=DEVICE), torch.randn(40, device=DEVICE)
    logps, entropy = chunked_logps(states, weight, None, targets, LogitRule(0.7))
    (logps * slopes).sum().backward()
    exact_states, exact_weight = (x.detach().double().requires_grad_() for x in (states, weight))
    whole = (exact_states @ exact_weight.T / 0.7).log_softmax(-1)
    exact = whole.gather(-1, targets[:, None]).squeeze(-1)
    (exact * slopes).sum().backward()
    bound = 1e-5 if compute == torch.float32 else 0.02
    assert torch.allclose(logps.detach().double(), exact.detach(), rtol=0, atol=10 * bound)
    entropies = -(whole.exp() * whole).sum(-1).detach()
    assert torch.allclose(entropy.double(), entropies, rtol=0, atol=20 * bound)
    for mine, its in ((states.grad, exact_states.grad), (weight.grad, exact_weight.grad)):
        assert float((mine.double() - its).norm() / its.norm()) < bound


def test_bf16_log_probs_are_close_to_those_of_fp32_on_the_cpu(tiny, groups, policy):
    stream = rollout_stream(groups, tiny[1].pad_token_id)
    index = torch.arange(len(stream.padded.ids))
    on_cpu, _ = stream.take(index, torch.device("cpu"))
    there, _ = stream.take(index, torch.device(DEVICE))
    with torch.no_grad():
        exact = token_scores(tiny[0], on_cpu, 1.0).logps
        fp32 = token_scores(policy, there, 1.0).logps.cpu()
        AcceleratorState._reset_state()
        with Accelerator(mixed_precision="bf16", cpu=DEVICE == "cpu").autocast():
            bf16 = token_scores(policy, there, 1.0).logps.cpu()
    AcceleratorState._reset_state()
    assert float((fp32 - exact).abs().max()) < 1e-3
    assert 1e-6 < float((bf16 - exact)[on_cpu.mask].abs().mean()) < 0.05


def test_the_engine_samples_on_the_gpu_from_the_distribution_that_it_states(tiny, policy):
    engine = fg.get_engine("transformers")
    engine.start(policy, tiny[1])
    prompt = tiny[1]("1+2=", add_special_tokens=False).input_ids
    sampling = fg.Sampling(max_new_tokens=4, seed=3)
    first = engine.generate([prompt], 8, sampling)[0]
    assert first == engine.generate([prompt], 8, sampling)[0]
    for completion in first:
        row = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad():
            logps = tiny[0](input_ids=row).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logps.gather(-1, torch.tensor(completion.token_ids)[:, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-3)
