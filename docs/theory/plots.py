"""The plots of docs/theory: both branches of each divergence, and their gradients, for each distinct link.

Run: python docs/theory/plots.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt

import fdiv_gym as fg

FOLDER = Path(__file__).parent / "img"

#: file name: (title, options of get_divergence)
PAGES: dict[str, list[tuple[str, dict[str, object]]]] = {
    "kl": [
        ("kl, link fgan", {"name": "kl", "link": "fgan"}),
        ("kl, link calibrated", {"name": "kl", "link": "calibrated"}),
        ("reverse_kl", {"name": "reverse_kl"}),
        ("jeffreys", {"name": "jeffreys"}),
    ],
    "chi_square": [
        ("pearson, link fgan", {"name": "pearson"}),
        ("pearson, exact conjugate", {"name": "pearson", "conjugate": "exact"}),
        ("pearson, link universal", {"name": "pearson", "link": "universal"}),
        ("neyman, link fgan", {"name": "neyman", "link": "fgan"}),
        ("neyman, link universal", {"name": "neyman", "link": "universal"}),
    ],
    "jensen_shannon": [
        ("jensen_shannon", {"name": "jensen_shannon"}),
        ("skew 0.1", {"name": "skewed_jensen_shannon", "skew": 0.1}),
        ("skew 0.9", {"name": "skewed_jensen_shannon", "skew": 0.9}),
    ],
    "hellinger": [
        ("hellinger, link fgan", {"name": "hellinger", "link": "fgan"}),
        ("hellinger, link universal", {"name": "hellinger", "link": "universal"}),
        ("triangular", {"name": "triangular"}),
    ],
    "total_variation": [("total_variation", {"name": "total_variation"})],
    "alpha": [(f"alpha {alpha:g}", {"name": "alpha", "alpha": alpha}) for alpha in (-1.0, 0.0, 0.5, 1.0, 2.0)],
    "generated": [("from text: exp(-t) - exp(-1)", {"name": "from_generator", "generator": "exp(-t) - exp(-1)"})],
}


def curves(spec: dict[str, object], v: torch.Tensor) -> list[torch.Tensor]:
    """Positive branch, negative branch, and the gradient of each."""
    divergence = fg.get_divergence(spec)
    values, slopes = [], []
    for branch in (divergence.positive, divergence.negative):
        leaf = v.clone().requires_grad_(True)
        result = branch(leaf)
        (slope,) = torch.autograd.grad(result.sum(), leaf)
        values.append(result.detach())
        slopes.append(slope)
    return values + slopes


def draw(page: str) -> Path:
    """One figure: branches left, gradients right; solid for good responses, dashed for bad ones."""
    v = torch.linspace(-3, 3, 61, dtype=torch.float64)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for number, (title, spec) in enumerate(PAGES[page]):
        positive, negative, pull, push = curves(spec, v)
        for axes, solid, dashed in ((left, positive, negative), (right, pull, push)):
            axes.plot(v, solid, color=f"C{number}", label=title)
            axes.plot(v, dashed, color=f"C{number}", linestyle="--")
    left.set(title="branches: g(v) solid, f*(g(v)) dashed", xlabel="v", ylim=(-4, 6))
    right.set(title="gradients: pull solid, push dashed", xlabel="v", ylim=(-0.5, 4))
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    path = FOLDER / f"{page}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    # matplotlib ends path lines with a blank, which no file here may have.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return path


def main() -> None:
    """Draw every page's figure."""
    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fdiv-gym", "path.simplify_threshold": 0.5})
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        path = draw(page)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
