"""A bench that is run, bundled with its figures, and verified."""

import base64
import re

import pytest
from bench_harness import small
from bundle_harness import reseal

from fdiv_gym.bench import run_bench, verify_bundle, write_bundle
from fdiv_gym.bench.run_file import toml_text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished bench of four cells, with the untrained model and what training has changed."""
    place = tmp_path_factory.mktemp("real")
    controls = {"random_reward": False, "noise_floor": False, "updates": False, "temperatures": [1.0], "samples": 2}
    (place / "m.toml").write_text(toml_text(small(controls=controls)))
    done = run_bench(place / "m.toml", place / "bench", limits={"processes": 1}, report=lambda line: None)
    assert not done.failed
    return place / "bench"


def test_a_real_bundle_is_clean_and_an_altered_figure_is_found(folder, tmp_path):
    bundle = write_bundle(folder, tmp_path / "bundle")
    done = verify_bundle(bundle, strict_plugins=True)
    assert done.faults == ()
    # 4 cells of 3 tasks with 2 sampled and 1 greedy response; of the untrained model 2 and 1
    assert done.counts["rewards"] == 5 * 3 * 3
    assert done.counts["cells"] == 4
    assert [note.partition(":")[0] for note in done.notes] == [
        "metrics of evaluations that need the model were not recomputed"
    ]
    assert str(folder).encode() not in b"".join(path.read_bytes() for path in bundle.rglob("*") if path.is_file())
    svg = next(iter(sorted((bundle / "report" / "figures").glob("*.svg"))))
    svg.write_text(_shifted(svg.read_text()))
    page = bundle / "report" / "index.html"
    image = re.search(r"base64,([A-Za-z0-9+/=]+)", page.read_text()).group(1)
    other = base64.b64encode(_shifted(base64.b64decode(image).decode()).encode()).decode()
    page.write_text(page.read_text().replace(image, other))
    reseal(bundle)
    assert {fault.file for fault in verify_bundle(bundle).faults} == {
        "report/index.html", f"report/figures/{svg.name}",
    }  # fmt: skip


def _shifted(svg):
    """The figure with another coordinate."""
    return re.sub(r"L [0-9.]+ ", "L 7.25 ", svg, count=1)
