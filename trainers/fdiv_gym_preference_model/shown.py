"""What the screen shows of a run's metrics."""

from __future__ import annotations

from collections.abc import Mapping

from fdiv_gym.runs import Shown, StepMetric


def heldout_line(metrics: Mapping[str, float]) -> str:
    """The metrics of an evaluation on one line."""
    shown = {k.removeprefix("heldout/"): v for k, v in metrics.items() if k.startswith(("heldout/", "triples/"))}
    return "  ".join(f"{name.replace('/', ' ')} {value:.3f}" for name, value in shown.items())


SHOWN = Shown(
    (
        StepMetric("loss", "loss", "{:.3f}", "mean of -log P(chosen > rejected), in nats"),
        StepMetric("pairs/accuracy", "right", "{:.0%}", "share of the step's pairs whose chosen response is preferred"),
        StepMetric("grad_norm", "gradient", "{:.2g}", "norm of the gradient before it is clipped"),
    ),
    heldout_line,
)
