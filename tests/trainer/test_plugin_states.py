"""The state of advantages and callbacks: kept in checkpoints, exact on resume."""

import numpy as np
import pytest
import torch
from conftest_trainer import without_times
from events_harness import run

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, PANELS, RunFolder
from fdiv_gym_accelerate.callbacks import Callbacks


class Steered(fg.Advantage):
    """The centred reward times a factor that grows with the square root of all earlier steps."""

    def __init__(self, **options):
        super().__init__(**options)
        self.sum = 0.0

    def at_step(self, step, steps):
        self.sum += step**0.5

    def compute(self, groups):
        return fg.get_advantage("mean-centred").compute(groups) * (1 + self.sum) * self.multiplier("all")

    def state_dict(self):
        return {"sum": np.float64(self.sum)}  # a checkpoint cannot hold NumPy's floats

    def load_state_dict(self, state):
        self.sum = state["sum"]


class Tightens(fg.Callback):
    """Sets a multiplier from the running mean of the reward, raises the penalty; ``armed`` kills the run in step 4."""

    armed = False
    fatal = True

    def __init__(self, **options):
        super().__init__(**options)
        self.mean = 0.5

    def before_rollouts(self, step):
        if step == 4 and self.armed:
            raise RuntimeError("killed")

    def before_updates(self, step, groups, controls):
        controls.advantage.multipliers["all"] = 1 + self.mean
        controls.kl_scale *= 1.25

    def after_step(self, step, metrics):
        self.mean = 0.7 * self.mean + 0.3 * metrics["reward/mean"]
        SEEN.append(self.mean)

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]

    def panels(self):
        return [fg.Panel("Mean", [fg.PanelFigure("Mean", "reward", {"mean": [(1, self.mean)]})])]


SEEN: list[float] = []


class Breaks(fg.Callback):
    """Fails in its first step; ``calls`` counts the events it gets."""

    calls = 0

    def before_rollouts(self, step):
        type(self).calls += 1
        raise RuntimeError("broken")


def objective():
    return {"name": "grpo", "advantage": {"name": Steered}}


def bytes_of(folder):
    weights = next((RunFolder(folder).checkpoints()[-1] / "model").glob("*.safetensors"))
    panels = (folder / PANELS).read_bytes()
    return weights.read_bytes(), panels, without_times(RunFolder(folder).lines(METRICS))


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_the_same_bytes(tmp_path):
    options = {"checkpoint_every": 2, "learning_rate": 1e-2}
    SEEN.clear()
    run(tmp_path / "whole", 6, objective=objective(), callbacks=[Tightens, Breaks], **options)
    straight = list(SEEN)
    Tightens.armed, Breaks.calls = True, 0
    cut = run(tmp_path / "cut", 6, objective=objective(), callbacks=[Tightens, Breaks], **options)
    assert "killed" in cut.error
    Tightens.armed = False
    SEEN.clear()
    run(tmp_path / "cut", 6, objective=objective(), callbacks=[Tightens, Breaks], resume=True, **options)
    assert straight[2:] == SEEN
    assert Breaks.calls == 1  # it was dropped before the checkpoint
    assert bytes_of(tmp_path / "whole" / "run") == bytes_of(tmp_path / "cut" / "run")
    (panel,) = RunFolder(tmp_path / "cut" / "run").read_json(PANELS)["panels"]
    assert panel["figures"][0]["series"] == {"mean": [[1, straight[-1]]]}
    state = torch.load(RunFolder(tmp_path / "cut" / "run").checkpoints()[-1] / "state.pt", weights_only=True)["extra"]
    assert state["kl_scale"] == 1.25**6
    assert state["advantage"] == {
        "multipliers": {"all": 1 + straight[-2]},
        "state": {"sum": sum(i**0.5 for i in range(1, 7))},
    }
    assert state["callbacks"] == [
        [{"name": "Tightens", "state": {"mean": straight[-1]}}, {"name": "Breaks", "state": None}]
    ]


class Keeps(fg.Callback):
    """Keeps one number."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kept = 0

    def state_dict(self):
        return {"kept": self.kept}

    def load_state_dict(self, state):
        self.kept = state["kept"]


class Unplain(Keeps):
    def state_dict(self):
        return {"kept": torch.ones(2)}


class Refuses(Keeps):
    def load_state_dict(self, state):
        raise KeyError("kept")


def test_each_callback_gets_its_own_state_back():
    first = [Keeps(), Breaks(), Keeps()]
    first[0].kept, first[2].kept = 3, 5
    state = Callbacks(first, print).state_dict()
    again, told = [Keeps(), Keeps(), Breaks(), Keeps()], []
    Callbacks(again, told.append).load_state_dict(state)
    assert [again[0].kept, again[1].kept, again[3].kept] == [3, 5, 0]
    assert told == []


def test_a_callback_whose_state_cannot_be_kept_is_dropped():
    told = []
    callbacks = Callbacks([Unplain(), Keeps()], told.append)
    assert callbacks.state_dict() == [{"name": "Unplain", "state": None}, {"name": "Keeps", "state": {"kept": 0}}]
    assert "callback 'Unplain': state_dict must return JSON values, 'kept' = tensor([1., 1.])" in told[0]
    assert "Tensor is no JSON value" in told[0]
    callbacks = Callbacks([Refuses()], told.append)
    callbacks.load_state_dict([{"name": "Refuses", "state": {}}])
    assert "callback 'Refuses' failed in load_state_dict: KeyError: 'kept'; it is dropped" in told[1]
    assert callbacks.state_dict() == [{"name": "Refuses", "state": None}]
