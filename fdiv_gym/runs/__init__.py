"""Runs: configuration, run folder, provenance, report, and the contracts of trainer and callback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.runs.callback import EVENTS as EVENTS
    from fdiv_gym.runs.callback import Callback as Callback
    from fdiv_gym.runs.callback import callback_metrics as callback_metrics
    from fdiv_gym.runs.callback import get_callback as get_callback
    from fdiv_gym.runs.changes import record_changes as record_changes
    from fdiv_gym.runs.checkpoints import newest_intact as newest_intact
    from fdiv_gym.runs.config import RunConfig as RunConfig
    from fdiv_gym.runs.config import TrackerConfig as TrackerConfig
    from fdiv_gym.runs.config import apply_overrides as apply_overrides
    from fdiv_gym.runs.config import load_config as load_config
    from fdiv_gym.runs.config import parse_config as parse_config
    from fdiv_gym.runs.controls import Controls as Controls
    from fdiv_gym.runs.events import TRAINING_EVENTS as TRAINING_EVENTS
    from fdiv_gym.runs.events import Event as Event
    from fdiv_gym.runs.events import EventKind as EventKind
    from fdiv_gym.runs.events import Policy as Policy
    from fdiv_gym.runs.events import event_policies as event_policies
    from fdiv_gym.runs.folder import CONFIG as CONFIG
    from fdiv_gym.runs.folder import EVALUATIONS as EVALUATIONS
    from fdiv_gym.runs.folder import METRICS as METRICS
    from fdiv_gym.runs.folder import PANELS as PANELS
    from fdiv_gym.runs.folder import PROVENANCE as PROVENANCE
    from fdiv_gym.runs.folder import SAMPLES as SAMPLES
    from fdiv_gym.runs.folder import SUMMARY as SUMMARY
    from fdiv_gym.runs.folder import TIMEOUTS as TIMEOUTS
    from fdiv_gym.runs.folder import TOTALS as TOTALS
    from fdiv_gym.runs.folder import RunFolder as RunFolder
    from fdiv_gym.runs.glossary import GLOSSARY as GLOSSARY
    from fdiv_gym.runs.glossary import Term as Term
    from fdiv_gym.runs.glossary import meaning_of as meaning_of
    from fdiv_gym.runs.glossary import meanings_of as meanings_of
    from fdiv_gym.runs.interrupt import Interrupt as Interrupt
    from fdiv_gym.runs.launch import is_main_process as is_main_process
    from fdiv_gym.runs.launch import resume_run as resume_run
    from fdiv_gym.runs.launch import train as train
    from fdiv_gym.runs.panels import Panel as Panel
    from fdiv_gym.runs.panels import PanelFigure as PanelFigure
    from fdiv_gym.runs.panels import PanelTable as PanelTable
    from fdiv_gym.runs.panels import panels_of as panels_of
    from fdiv_gym.runs.provenance import provenance_of as provenance_of
    from fdiv_gym.runs.provenance import refuse_changed_plugins as refuse_changed_plugins
    from fdiv_gym.runs.report import write_report as write_report
    from fdiv_gym.runs.result import RunResult as RunResult
    from fdiv_gym.runs.screen import Screen as Screen
    from fdiv_gym.runs.screen import Shown as Shown
    from fdiv_gym.runs.screen import StepMetric as StepMetric
    from fdiv_gym.runs.screen import make_screen as make_screen
    from fdiv_gym.runs.signals import REPEATED_S as REPEATED_S
    from fdiv_gym.runs.signals import leave_closed_output as leave_closed_output
    from fdiv_gym.runs.signals import stop_signals as stop_signals
    from fdiv_gym.runs.signals import stopped_as_by_ctrl_c as stopped_as_by_ctrl_c
    from fdiv_gym.runs.trackers import check_tracker as check_tracker
    from fdiv_gym.runs.trackers import finish_trackers as finish_trackers
    from fdiv_gym.runs.trackers import send_metrics as send_metrics
    from fdiv_gym.runs.trackers import start_trackers as start_trackers
    from fdiv_gym.runs.trainer import Trainer as Trainer
    from fdiv_gym.runs.trainer import get_trainer as get_trainer

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "changes": ["record_changes"],
        "checkpoints": ["newest_intact"],
        "config": ["RunConfig", "TrackerConfig", "apply_overrides", "load_config", "parse_config"],
        "controls": ["Controls"],
        "events": ["Event", "EventKind", "Policy", "TRAINING_EVENTS", "event_policies"],
        "folder": [
            "CONFIG",
            "EVALUATIONS",
            "METRICS",
            "PANELS",
            "PROVENANCE",
            "RunFolder",
            "SAMPLES",
            "SUMMARY",
            "TIMEOUTS",
            "TOTALS",
        ],
        "glossary": ["GLOSSARY", "Term", "meaning_of", "meanings_of"],
        "interrupt": ["Interrupt"],
        "launch": ["is_main_process", "resume_run", "train"],
        "panels": ["Panel", "PanelFigure", "PanelTable", "panels_of"],
        "provenance": ["provenance_of", "refuse_changed_plugins"],
        "result": ["RunResult"],
        "screen": ["Screen", "Shown", "StepMetric", "make_screen"],
        "signals": ["REPEATED_S", "leave_closed_output", "stop_signals", "stopped_as_by_ctrl_c"],
        "trackers": ["check_tracker", "finish_trackers", "send_metrics", "start_trackers"],
        "trainer": ["Trainer", "get_trainer"],
        "callback": ["Callback", "EVENTS", "callback_metrics", "get_callback"],
        "report": ["write_report"],
    },
)
