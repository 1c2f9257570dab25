"""What the screen shows of a run's metrics."""

from __future__ import annotations

from collections.abc import Mapping

from fdiv_gym.runs import Shown, StepMetric


def score_line(metrics: Mapping[str, float]) -> str:
    """The metrics of an evaluation on one line."""
    shown = {"sampled": "score/sampled", "greedy": "score/greedy"}
    shown |= {name.partition("/")[2]: name for name in metrics if name.startswith(("env/", "episode/"))}
    shown |= {name.replace("/", " "): name for name in metrics if name.startswith(("drift/", "preference/"))}
    text = "  ".join(f"{label} {metrics[name]:.3f}" for label, name in shown.items() if name in metrics)
    return text + (f"  unscored {metrics['unscored']:.1%}" if metrics.get("unscored") else "")


STEP_METRICS = (
    StepMetric("reward/mean", "reward", "{:.3f}", "mean reward"),
    StepMetric("groups/all_equal", "equal", "{:.0%}", "share of groups whose rewards are all equal"),
    StepMetric("divergence/estimate", "D", "{:.2g}", "estimated divergence from the reference"),
    StepMetric("curriculum/open_level", "level", "{:.0f}", "hardest open level of the curriculum"),
    StepMetric("time/tokens_per_second", "ktok/s", "{:.1f}", "thousand sampled tokens a second", factor=1e-3),
)
"""The values on the progress line."""
SHOWN = Shown(STEP_METRICS, score_line)
