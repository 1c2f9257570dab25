"""The preference model: its forms by hand, exact skew-symmetry, gradients."""

import math

import hypothesis.strategies as st
import pydantic
import pytest
import torch
from gpm_models import batch, small
from hypothesis import given, settings

from fdiv_gym.testing.tiny import tiny_model
from fdiv_gym_gprl import GeneralPreferenceModel, GPMConfig


def test_the_embedding_is_of_the_last_token_and_the_eigenvalues_of_the_prompts():
    model = small(dimensions=2, eigenvalues="softmax")
    ids, mask, lengths = batch("abc", "a")
    embeddings, eigenvalues = model.encode(ids, mask, lengths)
    for row, last in enumerate((mask[0].sum() - 1, mask[1].sum() - 1)):
        alone = model.backbone(input_ids=ids[row : row + 1, : last + 1]).last_hidden_state[0]
        torch.testing.assert_close(embeddings[row], model.value_head.weight @ alone[last], rtol=1e-5, atol=1e-5)
        expected = torch.softmax(model.prompt_head.weight @ alone[lengths[row] - 1], 0)
        torch.testing.assert_close(eigenvalues[row], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(eigenvalues[0], eigenvalues[1])  # one prompt


def test_eigenvalues_by_hand():
    hidden = torch.zeros(1, 32)
    hidden[0, 0] = 1.0
    z = torch.tensor([0.0, math.log(2.0), math.log(5.0)])
    found = {}
    for form in ("scaled", "softmax", "one"):
        model = small(dimensions=3, eigenvalues=form)
        if model.prompt_head is not None:
            model.prompt_head.weight.data[:, 0] = z
        found[form] = model.eigenvalues(hidden)[0]
    torch.testing.assert_close(found["softmax"], torch.tensor([1 / 8, 2 / 8, 5 / 8]))
    powers = [x ** (1 / math.sqrt(32)) for x in (1, 2, 5)]
    torch.testing.assert_close(found["scaled"], torch.tensor([3 * x / sum(powers) for x in powers]))
    assert found["one"].tolist() == [1.0, 1.0, 1.0]


def test_normalise_divides_the_whole_embedding():
    plain, normal = small(dimensions=2), small(dimensions=2, normalise=True)
    rows = batch("abc", "zz")
    found, expected = normal.encode(*rows)[0], plain.encode(*rows)[0]
    torch.testing.assert_close(found, expected / expected.pow(2).sum(-1, keepdim=True).sqrt())


def test_pinned_is_bradley_terry():
    model = small(dimensions=1, pinned=True)
    assert model.prompt_head is None
    assert tuple(model.value_head.weight.shape) == (1, 32)
    embeddings, eigenvalues = model.encode(*batch("abc", "zz", "k"))
    u = embeddings[:, 0]
    assert embeddings[:, 1].tolist() == eigenvalues[:, 0].tolist() == [1.0, 1.0, 1.0]
    torch.testing.assert_close(model.scores(embeddings[:2], embeddings[1:], eigenvalues[:2]), u[:2] - u[1:])


def test_the_probability_is_that_of_the_score_over_tau():
    model = small(dimensions=1, tau=0.5)
    assert float(model.probability(torch.tensor(0.5 * math.log(3.0)))) == pytest.approx(0.75)


@settings(max_examples=25, deadline=None)
@given(st.text("abcxyz 019", max_size=12), st.text("abcxyz 019", max_size=12), st.integers(-40, 40))
def test_scores_of_the_model_are_skew_symmetric_exactly(left, right, exponent):
    model = small(dimensions=3)
    model.value_head.weight.data.mul_(2.0**exponent)
    with torch.no_grad():
        embeddings, eigenvalues = model.encode(*batch(left, right))
    a, b, one = embeddings[:1], embeddings[1:], eigenvalues[:1]
    assert torch.equal(model.scores(a, b, one), -model.scores(b, a, one))
    assert model.scores(a, a, one).tolist() == [0.0]


def test_the_initial_heads_have_the_standard_deviation_of_the_source():
    model = GeneralPreferenceModel(GPMConfig(base="tiny", dimensions=200), tiny_model().model)
    for head in (model.value_head, model.prompt_head):
        assert head.bias is None
        assert float(head.weight.detach().std()) == pytest.approx(1 / 33, rel=0.05)
    same = GeneralPreferenceModel(GPMConfig(base="tiny", dimensions=200), tiny_model().model)
    assert torch.equal(same.value_head.weight, model.value_head.weight)


@pytest.mark.parametrize(
    "options", [{"dimensions": 2}, {"dimensions": 2, "normalise": True}, {"dimensions": 1, "pinned": True}]
)
def test_gradients_against_finite_differences(options):
    model = small(**options).double()
    model.value_head.weight.data.mul_(0.1)
    hidden = torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def loss(*weights):
        heads = dict(zip(("value_head.weight", "prompt_head.weight"), weights, strict=False))
        return torch.func.functional_call(_Loss(model), {f"model.{k}": v for k, v in heads.items()}, (hidden,))

    heads = [head.weight for head in (model.value_head, model.prompt_head) if head is not None]
    assert torch.autograd.gradcheck(loss, [head.detach().requires_grad_() for head in heads])


class _Loss(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, hidden):
        embeddings, eigenvalues = self.model.embeddings(hidden), self.model.eigenvalues(hidden)
        scores = self.model.scores(embeddings[:1], embeddings[1:2], eigenvalues[2:])
        return -torch.nn.functional.logsigmoid(scores / self.model.config.tau).sum()


def test_heads_stay_in_fp32_under_autocast_and_above_a_bf16_backbone():
    model = small(dimensions=2)
    rows = batch("abc", "zz")
    exact = model.encode(*rows)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.encode(*rows)[0].dtype == torch.float32
    model.backbone.bfloat16()
    found = model.encode(*rows)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ids, mask, lengths: (ids, mask.flip(1), lengths), "pad on the right"),
        (lambda ids, mask, lengths: (ids, mask * 0, lengths), "prompt_lengths must lie"),
        (lambda ids, mask, lengths: (ids, mask, lengths * 0), "prompt_lengths must lie"),
        (lambda ids, mask, lengths: (ids, mask, lengths + 50), "prompt_lengths must lie"),
        (lambda ids, mask, lengths: (ids, mask[:, 1:], lengths), "are expected"),
        (lambda ids, mask, lengths: (ids, mask, lengths[:1]), "are expected"),
    ],
)
def test_rows_that_would_be_misread_are_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        small(dimensions=1).encode(*change(*batch("abc", "zz")))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dimensions": 2, "pinned": True}, "has one dimension"),
        ({"dimensions": 1, "pinned": True, "normalise": True}, "remove normalise"),
        ({"dimensions": 0}, "greater than or equal to 1"),
        ({"tau": 0.0}, "greater than 0"),
        ({"eigenvalues": "none"}, "'scaled', 'softmax' or 'one'"),
    ],
)
def test_wrong_options_are_refused(options, reason):
    with pytest.raises(pydantic.ValidationError, match=reason):
        GPMConfig(base="tiny", **options)
