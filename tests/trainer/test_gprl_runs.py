"""GPRL from the judge to the update: a killed run goes on with the same bytes, with the drift monitor on."""

import pytest
import torch
from conftest_trainer import without_times
from events_harness import Letters, run

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, PANELS, RunFolder
from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer
from fdiv_gym_gprl import GeneralPreferenceModel, GPMConfig

MONITOR = {"name": "drift-monitor", "warmup": 1, "smoothing": 0.7, "threshold": 0.001, "relaxation": 0.5}


class Preferred(Letters):
    """The letters of the other tests, judged by a random preference model of three dimensions."""

    class Options(Letters.Options):
        model: str = ""
        """Folder of the preference model."""

    def __init__(self, **options):
        super().__init__(**options)
        self.judge = fg.get_judge("gpm", model=self.options.model, against="anchors", anchors=["a", "zz"], batch_size=1)

    def score_batch(self, tasks, responses):
        return self.judge.judge_batch(tasks, responses)


class Kills(fg.Callback):
    """Ends the run in step 4, while it is armed."""

    armed = False
    fatal = True

    def before_rollouts(self, step):
        if step == 4 and self.armed:
            raise RuntimeError("killed")


def train(folder, model, **options):
    env = {"id": Preferred, "model": model, "isolate": False}
    return run(
        folder,
        6,
        env=env,
        objective="gprl",
        callbacks=[Kills, MONITOR],
        checkpoint_every=2,
        learning_rate=1e-2,
        **options,
    )


def outcome(folder):
    weights = next((RunFolder(folder).checkpoints()[-1] / "model").glob("*.safetensors"))
    return weights.read_bytes(), (folder / PANELS).read_bytes(), without_times(RunFolder(folder).lines(METRICS))


@pytest.mark.slow
def test_a_killed_run_with_the_monitor_goes_on_with_the_same_bytes(tmp_path):
    model = GeneralPreferenceModel(GPMConfig(base="tiny", dimensions=3, tau=1.0), tiny_model().model)
    model.value_head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    model.save(tmp_path / "gpm", tiny_tokenizer())
    whole = train(tmp_path / "whole", str(tmp_path / "gpm"))
    assert whole.error == ""
    Kills.armed = True
    assert "killed" in train(tmp_path / "cut", str(tmp_path / "gpm")).error
    Kills.armed = False
    assert train(tmp_path / "cut", str(tmp_path / "gpm"), resume=True).error == ""
    assert outcome(tmp_path / "whole" / "run") == outcome(tmp_path / "cut" / "run")
    (panel,) = RunFolder(tmp_path / "whole" / "run").read_json(PANELS)["panels"]
    figures = {figure["title"]: figure["series"] for figure in panel["figures"]}
    multipliers = [value for _, value in figures["Multipliers of the dimensions"]["gprl/0"]]
    assert len(multipliers) == 6
    assert multipliers[-1] != 1.0  # the monitor acted
    first = whole.lines[0]
    assert {f"component/{part}/{d}" for part in ("gprl", "lambda", "anchored") for d in range(3)} <= set(first)
    assert first["component/gprl/0"] == pytest.approx(0, abs=1e-6)
