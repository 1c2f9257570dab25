"""Guards: the boundaries around plugin code. A fault of a plugin is reported on one line with its name.

``boundary`` turns any exception of plugin code into an error of fdiv-gym. The ``<what>_of`` functions call
a plugin behind a boundary and check the result. The ``check_<what>`` functions check an existing value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.registry.guard.boundaries import attribute_errors as attribute_errors
    from fdiv_gym.registry.guard.boundaries import boundary as boundary
    from fdiv_gym.registry.guard.boundaries import close_plugin as close_plugin
    from fdiv_gym.registry.guard.boundaries import culprit_of as culprit_of
    from fdiv_gym.registry.guard.boundaries import label_of as label_of
    from fdiv_gym.registry.guard.completions import check_completions as check_completions
    from fdiv_gym.registry.guard.completions import check_texts as check_texts
    from fdiv_gym.registry.guard.completions import completions_of as completions_of
    from fdiv_gym.registry.guard.completions import sampling_of as sampling_of
    from fdiv_gym.registry.guard.completions import texts_of as texts_of
    from fdiv_gym.registry.guard.conversations import check_done as check_done
    from fdiv_gym.registry.guard.conversations import check_outcome as check_outcome
    from fdiv_gym.registry.guard.conversations import check_reward as check_reward
    from fdiv_gym.registry.guard.conversations import check_said as check_said
    from fdiv_gym.registry.guard.conversations import max_turns_of as max_turns_of
    from fdiv_gym.registry.guard.curricula import adapts as adapts
    from fdiv_gym.registry.guard.curricula import chosen_tasks_of as chosen_tasks_of
    from fdiv_gym.registry.guard.curricula import observe_outcomes as observe_outcomes
    from fdiv_gym.registry.guard.environments import counters_of as counters_of
    from fdiv_gym.registry.guard.environments import demonstrations_of as demonstrations_of
    from fdiv_gym.registry.guard.environments import metrics_of as metrics_of
    from fdiv_gym.registry.guard.environments import tasks_of as tasks_of
    from fdiv_gym.registry.guard.environments import vote_of as vote_of
    from fdiv_gym.registry.guard.objectives import check_output as check_output
    from fdiv_gym.registry.guard.objectives import check_streams as check_streams
    from fdiv_gym.registry.guard.objectives import coefficients_of as coefficients_of
    from fdiv_gym.registry.guard.objectives import output_of as output_of
    from fdiv_gym.registry.guard.states import restore_state as restore_state
    from fdiv_gym.registry.guard.states import state_of as state_of
    from fdiv_gym.registry.guard.tensors import check_advantages as check_advantages
    from fdiv_gym.registry.guard.tensors import check_branch as check_branch
    from fdiv_gym.registry.guard.tensors import check_weights as check_weights
    from fdiv_gym.registry.guard.verdicts import batch_or_alone as batch_or_alone
    from fdiv_gym.registry.guard.verdicts import check_verdict as check_verdict
    from fdiv_gym.registry.guard.verdicts import check_verdicts as check_verdicts
    from fdiv_gym.registry.guard.verdicts import score_range_of as score_range_of
    from fdiv_gym.registry.guard.verdicts import verdicts_of as verdicts_of
    from fdiv_gym.registry.guard.verdicts import verified_by as verified_by

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "boundaries": ["attribute_errors", "boundary", "close_plugin", "culprit_of", "label_of"],
        "verdicts": [
            "batch_or_alone",
            "check_verdict",
            "check_verdicts",
            "score_range_of",
            "verdicts_of",
            "verified_by",
        ],
        "environments": [
            "counters_of",
            "demonstrations_of",
            "metrics_of",
            "tasks_of",
            "vote_of",
        ],
        "conversations": ["check_done", "check_outcome", "check_reward", "check_said", "max_turns_of"],
        "curricula": ["adapts", "chosen_tasks_of", "observe_outcomes"],
        "completions": ["check_completions", "check_texts", "completions_of", "sampling_of", "texts_of"],
        "states": ["restore_state", "state_of"],
        "tensors": ["check_advantages", "check_branch", "check_weights"],
        "objectives": ["check_output", "check_streams", "coefficients_of", "output_of"],
    },
)
