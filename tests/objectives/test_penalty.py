"""The penalty on D_f(pi || pi_ref): its expected gradient is the exact one, for every divergence, off policy too."""

import dataclasses
import math
import statistics

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.functional import rollout_loss
from fdiv_gym.objectives import GroupBatch, MicroBatch, Penalty
from fdiv_gym.testing import check_objective
from fdiv_gym.testing.steps import evaluate, make_step

DIVERGENCES = [entry.name for entry in fg.list_entries("divergence")]
ON_POLICY = [
    entry.name for entry in fg.list_entries("objective")
    if "penalty" in type(fg.get_objective(entry.name).options).model_fields
]  # fmt: skip
VOCABULARY, LENGTH = 3, 2
#: Options that leave the penalty alone on the rollouts: no k3 term, no preferences.
ALONE = {"f-grpo": {}, "f-hal": {"lam": 0.0}}


def penalty_of(name, coefficient=1.0, truncation=None):
    return Penalty(fg.get_divergence(name), coefficient, truncation)


def policy_logits(seed, spread=1.0):
    """A policy over the nine sequences of two tokens: logits of the first, and of the second given the first."""
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(VOCABULARY + 1, VOCABULARY, generator=generator, dtype=torch.float64)


def token_logps(logits):
    """[9, 2]: log-probs of both tokens of every sequence."""
    logps = torch.log_softmax(logits, -1)
    pairs = [(i, j) for i in range(VOCABULARY) for j in range(VOCABULARY)]
    return torch.stack([torch.stack([logps[0, i], logps[1 + i, j]]) for i, j in pairs])


def expected(penalty, logits, reference, old):
    """Loss, value and metrics in expectation over the sampling policy: each sequence weighs its probability."""
    mask = torch.ones(VOCABULARY**LENGTH, LENGTH, dtype=torch.bool)
    batch = MicroBatch(token_logps(logits), mask, token_logps(reference), None if old is None else token_logps(old), {})
    drawn = token_logps(logits if old is None else old).sum(-1).exp().detach()
    return penalty.loss(batch, drawn)


def exact(divergence, logits, reference):
    return divergence.exact(token_logps(logits).sum(-1).exp(), token_logps(reference).sum(-1).exp())


def gradient(value, at):
    return torch.autograd.grad(value, at)[0]


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_expected_gradient_is_the_exact_one(name, off_policy):
    for seed in range(3):
        logits = policy_logits(seed).requires_grad_(True)
        reference, old = policy_logits(seed + 10), policy_logits(seed + 20) if off_policy else None
        loss, value, metrics = expected(penalty_of(name), logits, reference, old)
        truth = exact(fg.get_divergence(name), logits, reference)
        wanted = gradient(truth, logits)
        assert float((gradient(loss, logits) - wanted).abs().max()) <= 1e-10
        assert float(wanted.abs().max()) > 0.01
        assert float(value) == pytest.approx(float(truth.detach()), abs=1e-10)
        assert float(metrics["rollouts/penalty"]) == pytest.approx(float(truth.detach()), abs=1e-10)
        assert float(metrics["rollouts/penalty_truncated"]) == 0


def test_without_the_importance_weight_the_gradient_would_differ():
    logits = policy_logits(0).requires_grad_(True)
    reference, old = policy_logits(10), policy_logits(20)
    mask = torch.ones(9, 2, dtype=torch.bool)
    batch = MicroBatch(token_logps(logits), mask, token_logps(reference), None, {})
    loss, _, _ = penalty_of("kl").loss(batch, token_logps(old).sum(-1).exp())
    wrong = gradient(loss, logits) - gradient(exact(fg.get_divergence("kl"), logits, reference), logits)
    assert float(wrong.abs().max()) > 0.1


def test_one_response_by_hand():
    # rho = 2, pi/pi_old = 3: Pearson's coefficient is 3 (2 (2 - 1)) = 6 and its term 3 (2 - 1)^2/2 = 1.5.
    logps = torch.tensor([[math.log(0.1), math.log(0.6)]], dtype=torch.float64, requires_grad=True)
    ref = logps.detach() - torch.tensor([[0.0, math.log(2)]], dtype=torch.float64)
    old = logps.detach() - torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    share = torch.tensor([0.25], dtype=torch.float64)
    batch = MicroBatch(logps, torch.ones(1, 2, dtype=torch.bool), ref, old, {})
    loss, value, metrics = penalty_of("pearson", coefficient=0.1).loss(batch, share)
    assert float(loss.detach()) == pytest.approx(0.1 * 0.25 * 6 * math.log(0.06))
    assert float(value) == pytest.approx(0.1 * 0.25 * 1.5)
    assert gradient(loss, logps).tolist() == [pytest.approx([0.15, 0.15])]
    assert float(metrics["rollouts/penalty_coefficient"]) == pytest.approx(1.5)
    assert float(metrics["rollouts/penalty_second_moment"]) == pytest.approx(9.0)


class TestInAnObjective:
    """``registered`` objectives on a group that contains each response in proportion to its probability."""

    COUNTS = torch.tensor([5, 3, 6, 2])

    def gradient(self, name, rewards, logits, reference, **options):
        drawn = torch.repeat_interleave(torch.arange(4), self.COUNTS)
        old = (self.COUNTS.double() / 16).log()
        groups = GroupBatch.of_equal_size(rewards, 16, old[drawn])
        objective = fg.get_objective(name, **options)
        logps = torch.log_softmax(logits, 0)[drawn]
        if objective.needs_token_logps:
            tokens = {"policy_tokens": logps.detach().unsqueeze(-1), "old_tokens": old[drawn].unsqueeze(-1)}
            groups = dataclasses.replace(groups, **tokens)
        return gradient(rollout_loss(objective, groups, logps, reference.log()[drawn], old[drawn]), logits)

    def case(self, on_policy):
        generator = torch.Generator().manual_seed(1)
        start = (self.COUNTS.double() / 16).log()
        noise = 0.0 if on_policy else torch.randn(4, generator=generator, dtype=torch.float64)
        reference = torch.softmax(torch.randn(4, generator=generator, dtype=torch.float64), 0)
        return (start + noise).requires_grad_(True), reference

    @pytest.mark.parametrize("on_policy", [True, False])
    @pytest.mark.parametrize("name", ON_POLICY)
    def test_equal_rewards_leave_the_exact_gradient_of_the_penalty(self, name, on_policy):
        logits, reference = self.case(on_policy)
        rewards = torch.ones(16, dtype=torch.float64)
        rewards[3] = math.nan  # a response without a score counts too
        options = {"penalty": "jensen_shannon", "penalty_coefficient": 0.7, **ALONE.get(name, {"beta": 0})}
        found = self.gradient(name, rewards, logits, reference, **options)
        truth = 0.7 * fg.get_divergence("jensen_shannon").exact(torch.softmax(logits, 0), reference)
        assert float((found - gradient(truth, logits)).abs().max()) <= 1e-12

    @pytest.mark.parametrize("name", ["grpo", "rloo", "cispo", "f-grpo", "f-hal"])
    def test_it_is_added_to_the_gradient_of_the_advantages(self, name):
        logits, reference = self.case(on_policy=False)
        rewards = torch.linspace(0, 1, 16, dtype=torch.float64)
        options = ALONE.get(name, {"beta": 0})
        alone = self.gradient(name, rewards, logits, reference, **options)
        both = self.gradient(name, rewards, logits, reference, penalty="pearson", penalty_coefficient=0.2, **options)
        truth = 0.2 * fg.get_divergence("pearson").exact(torch.softmax(logits, 0), reference)
        assert float((both - alone - gradient(truth, logits)).abs().max()) <= 1e-12

    def test_k3_as_a_loss_has_the_gradient_of_the_other_kl(self):
        logits, reference = self.case(on_policy=True)
        rewards = torch.ones(16, dtype=torch.float64)
        k3 = self.gradient("grpo", rewards, logits, reference, beta=1.0)
        policy = torch.softmax(logits, 0)
        backward = gradient(fg.get_divergence("kl").exact(reference, policy), logits)
        assert float((k3 - backward).abs().max()) <= 1e-12
        options = {"beta": 0, "penalty": "kl", "penalty_coefficient": 1.0}
        kl = self.gradient("grpo", rewards, logits, reference, **options)
        assert (
            float(
                (kl - gradient(fg.get_divergence("kl").exact(torch.softmax(logits, 0), reference), logits)).abs().max()
            )
            <= 1e-12
        )
        assert float((kl - k3).abs().max()) > 0.04


class TestConformance:
    @pytest.mark.parametrize("name", DIVERGENCES)
    def test_with_every_divergence(self, name):
        report = check_objective(fg.get_objective("grpo", penalty=name, penalty_coefficient=0.1, beta=0))
        assert report.ok, report.text()

    @pytest.mark.parametrize("truncation", [None, 0.5])
    @pytest.mark.parametrize("name", ON_POLICY)
    def test_of_every_objective(self, name, truncation):
        options = {"penalty": "pearson", "penalty_coefficient": 0.1, "penalty_truncation": truncation}
        options |= {} if name in ALONE else {"beta": 0}
        report = check_objective(fg.get_objective(name, **options))
        assert report.ok, report.text()

    def test_it_needs_a_reference_and_skips_no_row(self):
        plain = fg.get_objective("dapo", aggregation="sequence")
        assert (plain.needs_reference, plain.skips_inactive, plain.needs_scores) == (False, True, True)
        with_penalty = fg.get_objective("dapo", aggregation="sequence", penalty="kl", penalty_coefficient=0.1)
        assert with_penalty.needs_reference
        assert not with_penalty.skips_inactive
        assert not with_penalty.needs_scores
        assert with_penalty.exact_gradient

    @pytest.mark.parametrize("name", ["f-grpo", "f-hal"])
    def test_of_the_paper_s_objectives_too(self, name):
        plain = fg.get_objective(name)
        assert (plain.has_penalty, plain.skips_inactive, plain.needs_scores) == (False, True, True)
        with_penalty = fg.get_objective(name, penalty="kl", penalty_coefficient=0.1)
        assert (with_penalty.has_penalty, with_penalty.skips_inactive, with_penalty.needs_scores) == (
            True,
            False,
            False,
        )


class TestTruncation:
    def test_it_bounds_the_coefficient_and_is_counted(self):
        logits, reference = policy_logits(0, 3.0).requires_grad_(True), policy_logits(10, 3.0)
        loss, _, metrics = expected(penalty_of("pearson", truncation=0.5), logits, reference, None)
        policy = token_logps(logits).sum(-1).exp().detach()
        ratio = policy / token_logps(reference).sum(-1).exp()
        held = (2 * (ratio - 1)).clamp(-0.5, 0.5)
        assert float(metrics["rollouts/penalty_truncated"]) == pytest.approx(
            float(policy[ratio.sub(1).abs() > 0.25].sum())
        )
        assert float(metrics["rollouts/penalty_coefficient"]) == pytest.approx(float((policy * held).sum()))
        bias = gradient(loss, logits) - gradient(exact(fg.get_divergence("pearson"), logits, reference), logits)
        assert float(bias.abs().max()) > 0.01

    @pytest.mark.parametrize("log_ratio", [-800.0, 800.0])
    @pytest.mark.parametrize("name", DIVERGENCES)
    def test_hundreds_of_nats_stay_finite(self, name, log_ratio):
        logps = torch.tensor([[-1000.0]], requires_grad=True)
        batch = MicroBatch(logps, torch.ones(1, 1, dtype=torch.bool), logps.detach() - log_ratio, None, {})
        loss, value, metrics = penalty_of(name).loss(batch, torch.ones(1, dtype=torch.float64))
        (slope,) = torch.autograd.grad(loss, logps)
        assert torch.isfinite(slope).all()
        assert torch.isfinite(slope.square()).all()
        assert 0 < float(value) <= 1.1e13
        assert float(metrics["rollouts/penalty_truncated"]) == float(abs(float(slope)) > 1e13)


class TestVariance:
    """Coefficients of log-ratios that are normal with mean 0 and a deviation of 3 nats."""

    def deviation(self, name, responses):
        log_ratio = 3 * torch.randn(2001, responses, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return float(fg.get_divergence(name).slope(log_ratio).std(-1).median())

    def test_pearson_needs_many_responses(self):
        assert self.deviation("pearson", 16) == pytest.approx(92, rel=0.1)
        assert self.deviation("pearson", 256) == pytest.approx(650, rel=0.1)

    def test_a_bounded_slope_does_not_help_below_the_reference(self):
        assert self.deviation("total_variation", 16) == pytest.approx(0.51, abs=0.02)
        assert self.deviation("kl", 16) == pytest.approx(3, rel=0.05)
        assert self.deviation("jensen_shannon", 16) == pytest.approx(1.6, rel=0.2)


def token_local_error(divergence, seed):
    """Relative error of the gradient with f' of each token's own ratio, on a table of two binary tokens."""
    generator = torch.Generator().manual_seed(seed)
    logits, reference = (torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_(True)

    def tokens(values):
        logps = torch.log_softmax(values, -1)
        return torch.stack([torch.stack([logps[0, i], logps[1 + i, j]]) for i in (0, 1) for j in (0, 1)])

    ours, theirs = tokens(logits), tokens(reference)
    probabilities = ours.sum(-1).exp()
    truth = gradient(divergence.exact(probabilities, theirs.sum(-1).exp()), logits)
    coefficients = divergence.slope(ours - theirs) - divergence.slope(torch.zeros(1))
    ours = tokens(logits)
    local = gradient((ours.sum(-1).exp().detach().unsqueeze(-1) * coefficients * ours).sum(), logits)
    return float((local - truth).norm() / truth.norm())


@pytest.mark.parametrize(("name", "median"), [("kl", 0.14), ("reverse_kl", 0.25), ("pearson", 0.47)])
def test_a_token_local_form_would_have_another_gradient(name, median):
    errors = [token_local_error(fg.get_divergence(name), seed) for seed in range(200)]
    assert statistics.median(errors) == pytest.approx(median, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_coefficient": 0.1}, "penalty_coefficient needs a divergence: set penalty"),
        ({"penalty_truncation": 1.0}, "penalty_truncation needs a divergence: set penalty"),
        ({"penalty": "kl"}, "penalty needs penalty_coefficient above 0"),
        ({"penalty": "kl", "penalty_coefficient": 0.1, "beta": 0.04}, r"set beta = 0 \(it is 0.04\)"),
        ({"penalty": "kl", "penalty_coefficient": -1}, "penalty_coefficient"),
        ({"penalty": "perason", "penalty_coefficient": 0.1}, "did you mean 'pearson'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(fg.ConfigError, match=message):
        fg.get_objective("grpo", **{"beta": 0, **options})


def test_a_run_file_survives_its_folder():
    options = fg.get_objective("grpo", penalty={"name": "alpha", "alpha": 2.0}, penalty_coefficient=0.1, beta=0).options
    assert type(options).model_validate_json(options.model_dump_json()) == options


def test_the_hybrid_weighs_the_penalty_with_its_rollouts_and_not_its_metrics():
    penalty = {"penalty": "pearson", "penalty_coefficient": 0.4}
    step, lam = make_step(seed=3), 0.3
    hybrid, plain = fg.get_objective("f-hal", lam=lam, **penalty), fg.get_objective("f-hal", lam=lam)
    alone = fg.get_objective("f-grpo", divergence="jensen_shannon", **penalty)
    bare = fg.get_objective("f-grpo", divergence="jensen_shannon")
    for scale in (1.0, 2.5):
        hybrid.kl_scale = alone.kl_scale = scale
        found, expected = evaluate(hybrid, step), evaluate(alone, step)
        added = found.value - evaluate(plain, step).value
        whole = expected.value - evaluate(bare, step).value
        assert float(added) == pytest.approx((1 - lam) * float(whole), rel=1e-9)
        assert float(whole) == pytest.approx(0.4 * scale * float(expected.metrics["rollouts/penalty"]), rel=1e-9)
        for name in (n for n in expected.metrics if "penalty" in n):
            assert float(found.metrics[name]) == pytest.approx(float(expected.metrics[name]), rel=1e-12)
    with pytest.raises(fg.ConfigError, match="penalty acts on rollouts, and with lam = 1 none are drawn"):
        fg.get_objective("f-hal", lam=1.0, **penalty)
