"""Fixtures of the executors' tests."""

import pytest
from bench_harness import cells_of
from executors import GRPO


@pytest.fixture(scope="module")
def cells():
    return cells_of(objectives=[GRPO])


@pytest.fixture(scope="module")
def prepared(cells, tmp_path_factory):
    """The finished runs of the two cells."""
    from fdiv_gym.runs import train

    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        for cell in cells:
            train(cell.config, folder / cell.id)
    return folder
