"""A step with signal, one without, and an event of the last process alone, on as many processes as there are.

Run by test_parallel.py: saves how far the weights moved in each step, and what every process recorded.
"""

import copy
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from updates_harness import judged_rollouts, make_updates, scored, weights_of

import fdiv_gym as fg
from fdiv_gym.runs import event_policies
from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.readings import merged_over_processes, reading_of
from fdiv_gym_accelerate.streams import rollout_stream


def main(target):
    state = PartialState(cpu=True)
    start, tokenizer = tiny_model(), tiny_tokenizer()
    groups = judged_rollouts(start, tokenizer, fg.make("math/Addition-v0", digits=1), 4, 4)
    groups = groups[state.process_index :: state.num_processes]
    model = copy.deepcopy(start)
    updates = make_updates(fg.get_objective("rloo"), model, None)
    log = EventLog(event_policies({"wrong_sign": "warn"}), print, several=state.num_processes > 1)
    object.__setattr__(updates, "events", log)
    moved, lines = [], []
    for step, chosen in enumerate((groups, [scored(group, [1.0] * 4) for group in groups]), 1):
        before = weights_of(model)
        rows = StepRows({"rollouts": rollout_stream(chosen, tokenizer.pad_token_id)}, chosen)
        if state.is_last_process:
            log.report("wrong_sign", "planted", process=state.process_index)
        lines.append(updates.run(step, rows)["updates/count"])
        moved.append(float((weights_of(model) - before).abs().max()))
        records = log.records(step)
        log.end_step(step)
    reading = merged_over_processes(reading_of(groups, rows.streams["rollouts"]), several=state.num_processes > 1)
    found = gather_object([{"moved": moved, "updates": lines, "records": records, "groups": reading.groups}])
    if state.is_main_process:
        torch.save({"processes": state.num_processes, "found": found}, target)
    close_at_exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
