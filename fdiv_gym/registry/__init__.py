"""The registry of plugins: kinds, discovery, options, references, and the guards around plugin code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.registry.discovery import Plugin as Plugin
    from fdiv_gym.registry.entry import Entry as Entry
    from fdiv_gym.registry.guard import attribute_errors as attribute_errors
    from fdiv_gym.registry.guard import batch_or_alone as batch_or_alone
    from fdiv_gym.registry.guard import boundary as boundary
    from fdiv_gym.registry.guard import check_completions as check_completions
    from fdiv_gym.registry.guard import check_output as check_output
    from fdiv_gym.registry.guard import check_verdict as check_verdict
    from fdiv_gym.registry.guard import check_verdicts as check_verdicts
    from fdiv_gym.registry.guard import chosen_tasks_of as chosen_tasks_of
    from fdiv_gym.registry.guard import close_plugin as close_plugin
    from fdiv_gym.registry.guard import coefficients_of as coefficients_of
    from fdiv_gym.registry.guard import completions_of as completions_of
    from fdiv_gym.registry.guard import counters_of as counters_of
    from fdiv_gym.registry.guard import culprit_of as culprit_of
    from fdiv_gym.registry.guard import label_of as label_of
    from fdiv_gym.registry.guard import metrics_of as metrics_of
    from fdiv_gym.registry.guard import observe_outcomes as observe_outcomes
    from fdiv_gym.registry.guard import output_of as output_of
    from fdiv_gym.registry.guard import restore_state as restore_state
    from fdiv_gym.registry.guard import sampling_of as sampling_of
    from fdiv_gym.registry.guard import score_range_of as score_range_of
    from fdiv_gym.registry.guard import state_of as state_of
    from fdiv_gym.registry.guard import tasks_of as tasks_of
    from fdiv_gym.registry.guard import verdicts_of as verdicts_of
    from fdiv_gym.registry.guard import verified_by as verified_by
    from fdiv_gym.registry.guard import vote_of as vote_of
    from fdiv_gym.registry.hooks import Registrar as Registrar
    from fdiv_gym.registry.hooks import hookimpl as hookimpl
    from fdiv_gym.registry.kinds import KINDS as KINDS
    from fdiv_gym.registry.kinds import Kind as Kind
    from fdiv_gym.registry.kinds import Template as Template
    from fdiv_gym.registry.lookup import Spec as Spec
    from fdiv_gym.registry.lookup import get as get
    from fdiv_gym.registry.lookup import list_entries as list_entries
    from fdiv_gym.registry.lookup import list_plugins as list_plugins
    from fdiv_gym.registry.lookup import scoped_registry as scoped_registry
    from fdiv_gym.registry.messages import cause_of as cause_of
    from fdiv_gym.registry.messages import printable as printable
    from fdiv_gym.registry.options import Configurable as Configurable
    from fdiv_gym.registry.options import Options as Options
    from fdiv_gym.registry.options import build_options as build_options
    from fdiv_gym.registry.process import start_python as start_python
    from fdiv_gym.registry.reference import PluginRef as PluginRef
    from fdiv_gym.registry.reference import references as references

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "kinds": ["KINDS", "Kind", "Template"],
        "entry": ["Entry"],
        "hooks": ["Registrar", "hookimpl"],
        "discovery": ["Plugin"],
        "messages": ["cause_of", "printable"],
        "options": ["Configurable", "Options", "build_options"],
        "process": ["start_python"],
        "reference": ["PluginRef", "references"],
        "lookup": ["Spec", "get", "list_entries", "list_plugins", "scoped_registry"],
        "guard": [
            "attribute_errors",
            "batch_or_alone",
            "boundary",
            "check_completions",
            "check_output",
            "check_verdict",
            "check_verdicts",
            "chosen_tasks_of",
            "coefficients_of",
            "score_range_of",
            "sampling_of",
            "culprit_of",
            "close_plugin",
            "completions_of",
            "counters_of",
            "label_of",
            "metrics_of",
            "observe_outcomes",
            "output_of",
            "restore_state",
            "state_of",
            "tasks_of",
            "verdicts_of",
            "verified_by",
            "vote_of",
        ],
    },
)
