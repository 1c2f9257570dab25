"""Evaluation: one runner and one sample schema, metrics with intervals, rescoring, judge agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.evaluation.agreement import LabelledResponse as LabelledResponse
    from fdiv_gym.evaluation.agreement import judge_reliability as judge_reliability
    from fdiv_gym.evaluation.agreement import kappa as kappa
    from fdiv_gym.evaluation.agreement import read_labelled as read_labelled
    from fdiv_gym.evaluation.injection import judge_injection as judge_injection
    from fdiv_gym.evaluation.merging import merge_adapter as merge_adapter
    from fdiv_gym.evaluation.metrics import Metric as Metric
    from fdiv_gym.evaluation.metrics import Sample as Sample
    from fdiv_gym.evaluation.metrics import majority_at_k as majority_at_k
    from fdiv_gym.evaluation.metrics import mean_metrics as mean_metrics
    from fdiv_gym.evaluation.metrics import pass_at_k as pass_at_k
    from fdiv_gym.evaluation.metrics import summarise as summarise
    from fdiv_gym.evaluation.plan import Plan as Plan
    from fdiv_gym.evaluation.plan import configure as configure
    from fdiv_gym.evaluation.publishing import push_model as push_model
    from fdiv_gym.evaluation.publishing import write_model as write_model
    from fdiv_gym.evaluation.rescoring import Rescored as Rescored
    from fdiv_gym.evaluation.rescoring import rescore as rescore
    from fdiv_gym.evaluation.rescoring import rescore_samples as rescore_samples
    from fdiv_gym.evaluation.runner import Evaluated as Evaluated
    from fdiv_gym.evaluation.runner import Played as Played
    from fdiv_gym.evaluation.runner import evaluate as evaluate
    from fdiv_gym.evaluation.runner import play_tasks as play_tasks
    from fdiv_gym.evaluation.samples import Mode as Mode
    from fdiv_gym.evaluation.samples import is_sample as is_sample
    from fdiv_gym.evaluation.samples import sample_record as sample_record
    from fdiv_gym.evaluation.samples import sample_records as sample_records
    from fdiv_gym.evaluation.samples import task_of as task_of
    from fdiv_gym.evaluation.temperatures import Sweep as Sweep
    from fdiv_gym.evaluation.temperatures import evaluate_temperatures as evaluate_temperatures
    from fdiv_gym.evaluation.temperatures import parse_temperatures as parse_temperatures

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "injection": ["judge_injection"],
        "merging": ["merge_adapter"],
        "publishing": ["push_model", "write_model"],
        "plan": ["Plan", "configure"],
        "runner": ["Evaluated", "Played", "evaluate", "play_tasks"],
        "samples": ["Mode", "is_sample", "sample_record", "sample_records", "task_of"],
        "metrics": ["Metric", "Sample", "majority_at_k", "mean_metrics", "pass_at_k", "summarise"],
        "temperatures": ["Sweep", "evaluate_temperatures", "parse_temperatures"],
        "rescoring": ["Rescored", "rescore", "rescore_samples"],
        "agreement": ["LabelledResponse", "judge_reliability", "kappa", "read_labelled"],
    },
)
