"""The glossary: what each metric of a run and of an evaluation means, with its unit and range.

A key may be a pattern: ``component/<name>`` stands for every key that begins with ``component/``. A plugin class
explains keys of its own in ``metric_meanings``; see ``fdiv_gym.registry.Configurable``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fdiv_gym.runs.folder import EVALUATIONS, METRICS

RESULTS = "results.json"


@dataclass(frozen=True)
class Term:
    """One entry of the glossary.

    Args:
        key: the metric's key, or a pattern with parts such as ``<name>``.
        meaning: one sentence with unit and range; a part such as ``<name>`` stands for what it stands for in the key.
        where: the file of a run folder or of an evaluation folder that holds the key.
    """

    key: str
    meaning: str
    where: str


_EPISODES = {
    "episode/turns": "Mean number of responses in an episode, over the step's episodes of the first process or the "
    "evaluation's sampled ones (the greedy ones if none were sampled); of environments of several turns only.",
    "episode/truncated": "Share of the same episodes that stopped before their end, from 0 to 1: no turns left, no "
    "room in the context, or a last response cut off.",
    "episode/environment_tokens": "Mean number of tokens in the same episodes, after the first prompt, that were not "
    "sampled; where the chat template renders earlier turns otherwise, what it changed is counted too.",
    "episode/<name>": "Outcome <name>, a number or a truth value (0 or 1), mean over the same episodes that have it.",
}
_STEPS = {
    "step": "Number of the step, which is one rollout batch, from 1; in evaluations.jsonl, 0 is the evaluation before "
    "training.",
    # rollouts and verdicts
    "reward/mean": "Mean score of the step's scored responses that the first process drew, in the environment's range.",
    "groups/all_equal": "Share of the first process's groups whose scores are all equal, from 0 to 1; such a group has "
    "no effect on most objectives.",
    "groups/sampled": "Groups that the step drew over all processes, a count, from prompts_per_step to that plus the "
    "budget of dynamic_sampling; with dynamic_sampling only.",
    "groups/replaced": "Groups without signal that a further group took the place of, over all processes, a count; "
    "with dynamic_sampling only.",
    "groups/with_signal": "Groups with signal among those that the step trained on, over all processes, a count up to "
    "prompts_per_step; with dynamic_sampling only.",
    "verdicts/unscored": "Share of the first process's responses without a score, from 0 to 1; without the masked "
    "ones.",
    "verdicts/masked": "Share of the first process's episodes that have no score because they were truncated and "
    "env.score_truncated is 'mask', from 0 to 1.",
    "verdicts/timeout": "Share of the first process's responses that the clock of a verifier or judge stopped, from 0 "
    "to 1; a rising share may be a policy that avoids a score.",
    "response/tokens": "Mean number of tokens that the policy sampled in an episode of the first process: in its "
    "response, or in all of its responses.",
    "response/cut_off": "Share of the first process's responses that reached the length limit, from 0 to 1; of several "
    "turns, the last one counts.",
    "response/entropy": "Mean -log-prob of a token at sampling time over the first process's responses, in nats, an "
    "estimate of the entropy of the next token.",
    "policy/entropy": "Mean entropy of the policy's distribution of the next token at the response tokens that the "
    "gradient was computed from, in nats, without sampling noise; absent where the event plain_pass was reported for "
    "the head.",
    **_EPISODES,
    "component/<name>": "Mean of the verdicts' component <name> over the first process's responses that have it.",
    "curriculum/<name>": "The number <name> in the state of the environment's curriculum after the step.",
    "total/judged": "Verdicts that the environment's judge gave to the first process since the start of the run, "
    "through every resume; what was judged between the last checkpoint and a kill is judged again and counted once.",
    "total/unscorable": "Verdicts without a score among total/judged, a count.",
    "total/cached": "Verdicts that the judge read from its cache on disk, a count.",
    "total/calls": "Requests that the judge sent to a server, retries included, a count.",
    "total/retries": "Requests that the judge repeated after a failure, a count.",
    "total/prompt_tokens": "Tokens that the judge sent, as counted by the server.",
    "total/completion_tokens": "Tokens that the judge received, as counted by the server.",
    "total/cost": "Price of the judge's tokens, in the currency of the configured prices.",
    "total/<name>": "The environment's counter <name> in the first process since the start of the run, through every "
    "resume.",
    # the updates; where a step takes several, the metrics of this part and of the objective are means over them
    "loss": "Value of the loss, summed over streams and processes, mean over the updates that the step took; its scale "
    "depends on the objective.",
    "loss/<stream>": "Part of the loss from the stream <stream>, where the objective reads two streams.",
    "grad_norm": "Euclidean norm of the gradient before clipping, mean over the updates that the step took, 0 or more.",
    "grad_norm/<stream>": "Norm of the gradient of the stream <stream> alone, in the first process (of divided "
    "weights: in all), before clipping.",
    "learning_rate": "Learning rate of all updates of the step, 0 or more.",
    "updates/count": "Optimizer steps that the step took.",
    "updates/stopped_early": "Whether max_kl ended the updates of the step, 1 or 0; with max_kl only.",
    "engine/logprob_gap": "Largest difference between a token's log-prob at sampling time and before the step's first "
    "update, in nats, over the response tokens (with one update from the engine's log-probs: over the rows of its "
    "gradient, and over all if there are none); near 0 if the engine samples from the policy in training.",
    "engine/logprob_gap_mean": "Mean of the same differences over the same tokens, in nats, 0 or more.",
    "correction/mean": "Mean over response tokens of the weights pi_old/q of policy against engine, after the bounds; "
    "with correction only.",
    "correction/cut": "Share of response tokens whose weight was cut to correction_upper, from 0 to 1; with correction "
    "only.",
    "correction/masked": "Share of response tokens whose weight was below correction_lower and became 0, from 0 to 1; "
    "with correction only.",
    "ratio/p01": "The 1 % quantile of the token ratios pi/pi_old in the step's last mini-batch, before its update, in "
    "the first process.",
    "ratio/p50": "The median of the token ratios pi/pi_old in the step's last mini-batch, before its update, in the "
    "first process.",
    "ratio/p99": "The 99 % quantile of the token ratios pi/pi_old in the step's last mini-batch, before its update, in "
    "the first process.",
    "ratio/kl_old": "Mean k3 estimate of KL(pi_old || pi) over the response tokens of the step's last mini-batch, "
    "before its update, in nats a token, 0 or more; with one update without the rows that have no gradient; the number "
    "that max_kl limits.",
    "ratio/effective_sample_size": "Effective sample size of the response ratios pi/pi_old in the step's last "
    "mini-batch, before its update, as a share of its responses, from 0 to 1.",
    # the core's objectives
    "rollouts/log_ratio_positive": "Mean log pi - log pi_ref of responses with a positive advantage, in nats.",
    "rollouts/log_ratio_negative": "Mean log pi - log pi_ref of responses with a negative advantage, in nats.",
    "preferences/log_ratio_chosen": "Mean log pi - log pi_ref of the step's chosen responses, in nats.",
    "preferences/log_ratio_rejected": "Mean log pi - log pi_ref of the step's rejected responses, in nats.",
    "rollouts/truncated": "Share of truncated importance weights, mean over the responses with an advantage, from 0 to "
    "1; with importance only.",
    "rollouts/beyond_guard": "Share of responses whose v is beyond the divergence's guard, from 0 to 1; should be 0.",
    "preferences/beyond_guard": "Share of preference rows whose v is beyond the divergence's guard, from 0 to 1; "
    "should be 0.",
    "weights/effective_sample_size": "Mean effective number of responses under the importance weights, over groups "
    "with unequal scores, from 1 to the group size.",
    "weights/positive_share": "Mean share of the importance weight on responses with a positive advantage, from 0 to "
    "1.",
    "lam": "Weight of the preference stream in f-hal at this step, from 0 to 1.",
    "events": "What was noticed at the step, only if there was something: records of name, policy, message and the "
    "measured values.",
    # the distance from the reference, on the step's rollouts
    "divergence/estimate": "Estimate of D_f(policy || reference) on the first process's rollouts, for the objective's "
    "divergence, or kl if it has none.",
    "divergence/standard_error": "Standard error of divergence/estimate.",
    "divergence/beyond_guard": "Share of the first process's rollouts whose scaled log-ratio is beyond the "
    "divergence's guard, from 0 to 1.",
    "divergence/log_ratio": "Mean log pi_old - log pi_ref of a token over the first process's rollouts, in nats, an "
    "estimate of the KL divergence from the reference for each token.",
    # sums over the run, and times
    "spent/tokens": "Tokens sampled for training since the start of the run, over all processes, a count; without "
    "evaluations.",
    "spent/verifications": "Responses drawn and scored for training since the start of the run, over all processes, a "
    "count; without evaluations.",
    "time/run_seconds": "The run's clock at the end of the step, in seconds, with evaluations and checkpoints and "
    "through every resume.",
    "time/seconds": "Wall-clock time of the step, in seconds.",
    "time/rollout_seconds": "Time for drawing and judging the step's responses, in seconds.",
    "time/sampling_seconds": "Time in which the first process drew the step's responses, in seconds.",
    "time/scoring_seconds": "Time in which the first process judged the step's responses, in seconds.",
    "time/update_seconds": "Time of the step's log-probs, gradients and optimizer steps, the reference's included, in "
    "seconds.",
    "time/sync_seconds": "Time in which the weights were sent to the engine, in seconds.",
    "time/tokens_per_second": "Response tokens of the first process for each second of time/rollout_seconds.",
    # memory of the first process
    **{
        f"memory/{phase}_bytes": f"Memory of the first process in the phase {phase}: on a GPU the peak that torch had "
        "allocated, in bytes, else what was resident at its end."
        for phase in ("sampling", "scoring", "update", "sync")
    },
}
_EVALUATIONS = {
    "score/sampled": "Mean score of the sampled responses to held-out tasks, in the environment's range.",
    "score/greedy": "Mean score of the greedy responses to held-out tasks, in the environment's range.",
    "unscored": "Share of the evaluation's responses without a score, from 0 to 1.",
    "response_tokens": "Mean number of tokens that the policy sampled in an episode of the evaluation, over all of its "
    "responses.",
    **_EPISODES,
    "env/<name>": "The environment's own metric <name>, over the sampled responses (or the greedy ones if none were "
    "sampled).",
    "drift/chosen": "Mean log pi - log pi_ref of held-out chosen responses, in nats.",
    "drift/rejected": "Mean log pi - log pi_ref of held-out rejected responses, in nats.",
    "preference/accuracy": "Share of held-out pairs whose chosen response has the larger log-ratio, from 0 to 1; a tie "
    "counts 0.5.",
    "divergence/<name>": "Estimate of D_f(policy || reference) for the divergence <name>, from fresh samples on "
    "held-out prompts.",
    "divergence_error/<name>": "Standard error of divergence/<name>.",
}
_RESULTS = {
    "env": "Environment of the evaluation, with its options.",
    "model": "Folder or name of the evaluated model.",
    "split": "Split of the evaluated tasks: train or heldout.",
    "mode": "How the responses were drawn: sampled or greedy.",
    "temperature": "Temperature of the responses; 0 is greedy, null is an engine without that option.",
    "tasks": "Evaluated tasks, a count.",
    "samples": "Responses to each task, a count.",
    "threshold": "Smallest score of a correct response for pass@k, in the environment's range.",
    "metrics": "The entries pass@<k>, avg@<k> and maj@<k>, each with value, low and high (the 95 % interval) and "
    "tasks.",
    "pass@<k>": "Probability that at least one of <k> responses to a task is correct, from 0 to 1, mean over tasks.",
    "avg@<k>": "Mean score of the <k> responses to a task, mean over tasks, in the environment's range.",
    "maj@<k>": "Expected score of the most frequent answer among <k> responses, mean over tasks, in the environment's "
    "range; absent where no response of the evaluation has a vote.",
    "env_metrics": "The environment's own metrics: the entries env/<name> of evaluations.jsonl, without env/.",
    "episode_metrics": "The means over episodes: the entries episode/<name> of evaluations.jsonl, without episode/; "
    "empty for an environment of one turn.",
    "unscored": _EVALUATIONS["unscored"],
    "unscored_reason": "Status and detail of the first response without a score, or null.",
    "cut_off": "Share of the evaluation's responses that reached the length limit, from 0 to 1; of several turns, the "
    "last one counts.",
    "response_tokens": _EVALUATIONS["response_tokens"],
    "contamination": "Evaluated problems that the model was trained on (shared) and the numbers of tasks compared, or "
    "null if the training tasks are unknown.",
}

GLOSSARY: tuple[Term, ...] = tuple(
    Term(key, meaning, where)
    for where, meanings in ((METRICS, _STEPS), (EVALUATIONS, _EVALUATIONS), (RESULTS, _RESULTS))
    for key, meaning in meanings.items()
)
"""Every key that the trainer, the evaluation and the core's objectives write."""


def meaning_of(key: str, classes: Iterable[type[Any]] = ()) -> str | None:
    """What a metric means, or None if no glossary has an entry.

    Args:
        key: as it stands in ``metrics.jsonl``, ``evaluations.jsonl`` or ``results.json``.
        classes: plugin classes of the run; their ``metric_meanings`` precede the glossary. An exact key precedes a
            pattern.
    """
    meanings = [*(meanings_of(owner) for owner in classes), {term.key: term.meaning for term in GLOSSARY}]
    for table in meanings:
        if key in table:
            return table[key]
    for table in meanings:
        for pattern, meaning in table.items():
            found = _compiled(pattern).fullmatch(key) if "<" in pattern else None
            if found is not None:
                return _filled(meaning, found.groupdict())
    return None


def _filled(meaning: str, parts: Mapping[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda part: parts.get(part[1], part[0]), meaning)


def meanings_of(owner: type[Any]) -> dict[str, str]:
    """The ``metric_meanings`` of a plugin class and of its bases, the class's own first."""
    merged: dict[str, str] = {}
    for base in owner.__mro__:
        own: Mapping[str, str] = vars(base).get("metric_meanings", {})
        merged = {**own, **merged}
    return merged


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """``loss/<stream>`` as a regular expression with a named group for each part; ``<k>`` is a number."""
    return re.compile("".join(_pieces(pattern)))


def _pieces(pattern: str) -> Iterator[str]:
    for piece in re.split(r"(<\w+>)", pattern):
        if not piece.startswith("<"):
            yield re.escape(piece)
        else:
            yield rf"(?P{piece}\d+)" if piece == "<k>" else rf"(?P{piece}.+)"
