"""Claims on every registered trainer of a policy, obtained by name: it trains the policy that was sampled."""

from __future__ import annotations

from functools import cache

from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.runs.trainer import get_trainer
from fdiv_gym.testing.trainer import LOG_PROB_TOLERANCE, fresh_log_probs
from fdiv_gym.testing.trainer_logps import FreshLogProbs
from fdiv_gym.theory.claims.claim import Claim, Sense
from fdiv_gym.theory.claims.subjects import OURS

COLD, WARM = 0.5, 1.0


@cache
def _fresh(temperature: float) -> dict[str, FreshLogProbs]:
    """The first step's log-probs under each trainer of a policy that can run here."""
    trainers = {entry.name: get_trainer(entry.name) for entry in list_entries("trainer") if entry.status == "ok"}
    of_policies = {name: trainer for name, trainer in trainers.items() if "objective" in trainer.needs}
    return {name: fresh_log_probs(trainer, temperature) for name, trainer in of_policies.items()}


def _claim(name: str, measured: float, bound: float | None, trainers: list[str], sense: Sense = "<=") -> Claim:
    if not trainers:
        return Claim(name, OURS, 0, None, detail="no trainer is installed")
    detail = f"{', '.join(trainers)}; first step on a tiny model, temperature {COLD:g}"
    return Claim(name, OURS, measured, bound, sense, detail)


def trained_policy_is_the_sampled_one() -> Claim:
    """At temperature 0.5 the log-probs of fresh rollouts equal those at sampling time: the policy is tempered."""
    found = _fresh(COLD)
    worst = max((each.policy_gap for each in found.values()), default=0.0)
    return _claim("trainer: log pi - log pi_old, fresh, nats", worst, LOG_PROB_TOLERANCE, list(found))


def reference_is_tempered_too() -> Claim:
    """At temperature 0.5 the reference's log-probs equal the policy's before the first update."""
    found = _fresh(COLD)
    worst = max((each.reference_gap for each in found.values()), default=0.0)
    return _claim("trainer: log pi - log pi_ref, first step, nats", worst, LOG_PROB_TOLERANCE, list(found))


def sampling_is_tempered() -> Claim:
    """A lower temperature gives sampled tokens a higher mean log-prob."""
    cold, warm = _fresh(COLD), _fresh(WARM)
    gain = min((cold[name].mean - warm[name].mean for name in cold), default=0.0)
    return _claim("trainer: mean log-prob, temperature 0.5 - 1, nats", gain, 0.1, list(cold), ">=")


CLAIMS = (trained_policy_is_the_sampled_one, reference_is_tempered_too, sampling_is_tempered)
