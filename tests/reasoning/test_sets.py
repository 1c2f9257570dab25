# ruff: noqa: RUF001 - signs of logic and of arithmetic
"""Every data set: only its reference answer is right, and no text of a model is evaluated as code."""

import builtins
import contextlib
import copy
import functools
import os
import pickle
import subprocess
import sys
import time
import warnings

import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym_reasoning.catalogue import (
    BLOCKED,
    COMPARED,
    DEPEND_ON_HASH_SEED,
    GUARDED,
    NAMES,
    REFERENCE_IN_METADATA,
    SLOW,
    WITHOUT_REFERENCE,
)

USABLE = [name for name in NAMES if name not in BLOCKED]
QUICK = [name if name != "knight_swap" else pytest.param(name, marks=pytest.mark.slow) for name in USABLE]

PWNED = "pwned_by_an_answer"
CODE = (
    f"__import__('os').system('touch {PWNED}')",
    f"open('{PWNED}','w')",
    f"[open('{PWNED}','w') for _ in (1,)]",
    f"(lambda: open('{PWNED}','w'))()",
    f"exec(\"open('{PWNED}','w')\")",
    f"x.__class__.__init__.__globals__['open']('{PWNED}','w')",
    f"1+len(str(open('{PWNED}','w')))",
    f"sin(open('{PWNED}','w'))",
    f"{{\"a\": \"__import__('os').system('touch {PWNED}')\"}}",
)
GARBAGE = (
    "", " ", "\n", "?", "no idea", "the answer is 7", "None", "null", "nan", "inf", "-inf", "NaN", "Infinity", "1e999",
    "1e999999999", "1/0", "[]", "{}", "[[]]", '""', "()", "0x", "٣", "\x00", "\ud800", "<answer>", "i", "=", ",",
    "U99999999999", "A+99999999999", "9**9**9**9", "10**10**10**10", "factorial(10**9)", "2" * 10_000,
    "(" * 10_000, "[" * 10_000, '{"a":' * 5_000, "-" * 10_000, "¬" * 10_000, "A∨" * 5_000, "x**" * 5_000,
    "1," * 5_000, "up " * 5_000, "sin(" * 5_000, "A=" * 5_000, "1\n" * 5_000, "2 × " * 5_000, "#" * 200_000,
)  # fmt: skip


@functools.cache
def env_of(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = fg.make(f"reasoning/{name}-v0", train_tasks=2, heldout_tasks=1)
        env.task_list("train")
    return env


@contextlib.contextmanager
def no_code(folder):
    """Fails on every call of eval, exec, compile or sympy's parsers, and on the file that injections make."""
    import sympy
    from sympy.parsing import sympy_parser

    calls = []

    def forbidden(*arguments, **_):
        calls.append(arguments)
        raise ValueError(f"evaluated: {arguments!r:.200}")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module, names in (
            (os, ("system", "popen")),
            (sympy_parser, ("parse_expr", "eval_expr")),
            (sympy, ("sympify", "parse_expr")),
            (builtins, ("compile", "exec", "eval")),
        ):
            for attribute in names:
                patch.setattr(module, attribute, forbidden)
        yield
    assert calls == []
    assert not os.path.exists(folder / PWNED)


def test_the_committed_list_is_that_of_the_package():
    from reasoning_gym.factory import DATASETS

    assert set(NAMES) == set(DATASETS)
    assert list(NAMES) == sorted(NAMES)
    for table in (COMPARED, GUARDED, REFERENCE_IN_METADATA, SLOW, WITHOUT_REFERENCE, DEPEND_ON_HASH_SEED):
        assert set(table) <= set(NAMES)
    assert not set(COMPARED) & set(GUARDED)


def test_the_package_is_imported_at_the_first_reset_only():
    script = (
        "import sys, fdiv_gym as fg\n"
        "env = fg.make('reasoning/chain_sum-v0', train_tasks=2, heldout_tasks=1)\n"
        "assert len([e for e in fg.list_entries('environment') if e.name.startswith('reasoning/')]) == 106\n"
        "assert 'reasoning_gym' not in sys.modules\n"
        "env.reset(seed=0)\n"
        "assert 'reasoning_gym' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(("name", "reason"), [("composite", "a mixture of other sets"), ("codeio", "running programs")])
def test_unsafe_sets_are_blocked_with_a_reason(name, reason):
    with pytest.raises(fg.PluginError, match=f"blocked: .*{reason}"):
        fg.make(f"reasoning/{name}-v0")


@pytest.mark.parametrize("name", QUICK)
def test_the_reference_answer_is_right_and_garbage_is_not(name, tmp_path):
    env = env_of(name)
    assert env.has_reference_response == (name not in WITHOUT_REFERENCE)
    tasks = [*env.task_list("train"), *env.task_list("heldout")]
    assert len({t.prompt for t in tasks}) == len(tasks) == 3
    for task in tasks[1:]:
        reference = env.reference_response(task)
        assert (reference is not None) == env.has_reference_response
        wrong = [*GARBAGE, *CODE, task.prompt[:2_000]]
        if reference is not None:
            assert env.score(task, reference).score == 1.0
            assert env.score(task, f"\n {reference} \n").score == 1.0
            wrong += [
                repr(reference),
                f"{reference}; {CODE[0]}",
                f"{CODE[0]} or {reference}",
                f"eval({reference!r})",
            ]
            wrong += [
                f"{reference} or not",
                f"I say {reference}!",
                f"{reference}\n\n{reference}x",
            ]
        with no_code(tmp_path):
            begun = time.process_time()
            scores = [env.score(task, answer).score for answer in wrong]
            spent = time.process_time() - begun
        for answer, score in zip(wrong, scores, strict=True):
            assert score == 0.0 or answer.strip() == reference, (answer[:80], reference)
        assert spent < 3.0


@pytest.mark.slow
@pytest.mark.parametrize("name", USABLE)
def test_gymnasiums_checker_passes_for_every_set(name):
    check_env(fg.make(f"reasoning/{name}-v0", train_tasks=2, heldout_tasks=1), skip_render_check=True)


@pytest.mark.parametrize("name", ["chain_sum", "rubiks_cube", "boxnet", "word_ladder"])
def test_gymnasiums_checker_passes(name):
    check_env(fg.make(f"reasoning/{name}-v0", train_tasks=2, heldout_tasks=1), skip_render_check=True)


#: The most expensive answers that each grammar accepts.
COSTLY = {
    "boxnet": "[" + ", ".join(['{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}'] * 100) + "]",
    "cryptarithm": ",".join(f"{chr(65 + i)}={i % 10}" for i in range(26)),
    "jugs": "[" + ", ".join(['"pour A->B"'] * 200) + "]",
    "kakurasu": "\n".join([" ".join("1" * 21)] * 21),
    "knight_swap": "[" + ", ".join(['"w,A1,B3"'] * 200) + "]",
    "quantum_lock": " → ".join(["B"] * 41),
    "rubiks_cube": " ".join(["U'"] * 501),
    "rush_hour": " ".join(["Z+5", "A-1"] * 100),
    "shortest_path": " ".join(["right"] * 400),
    "sokoban": "UDLR" * 125,
    "tower_of_hanoi": "\n".join(["Move disk 1 from Peg 1 to Peg 2", "Move disk 1 from Peg 2 to Peg 1"] * 300),
    "word_ladder": ",".join(["TIPS"] * 61),
}


@pytest.mark.parametrize("name", [case for case in QUICK if getattr(case, "values", [case])[0] in GUARDED])
def test_the_most_expensive_answer_of_a_grammar_is_judged_quickly(name, tmp_path):
    env = env_of(name)
    assert GUARDED[name].admits(COSTLY[name])
    task = env.task_list("train")[0]
    with no_code(tmp_path):
        begun = time.process_time()
        assert env.score(task, COSTLY[name]).score == 0.0
        assert time.process_time() - begun < 1.0


@pytest.mark.parametrize("name", list(GUARDED))
def test_matching_a_grammar_is_linear(name):
    pattern, unit = GUARDED[name].grammar, COSTLY[name]
    for hostile in (unit * 300, unit + " " * 100_000, unit[:-1] * 300 + "!", "[" * 100_000, " " * 100_000):
        begun = time.process_time()
        pattern.fullmatch(hostile[:200_000])
        assert time.process_time() - begun < 0.5


def test_an_entry_is_generated_once_for_any_number_of_sets():
    env = fg.make("reasoning/word_ladder-v0", train_tasks=2, heldout_tasks=1)
    task = env.task_list("train")[0]
    before = env.source.entry(task.data["seed"], task.data["index"])
    for name in [name for name in USABLE if name not in DEPEND_ON_HASH_SEED][:10]:
        assert fg.make(f"reasoning/{name}-v0", train_tasks=1, heldout_tasks=1).task_list("train")
    assert env.source.entry(task.data["seed"], task.data["index"]) is before
    assert env.score(task, task.answer).score == 1.0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_judges_as_the_original(copied):
    env = fg.make("reasoning/knights_knaves-v0", train_tasks=2, heldout_tasks=1)
    task = env.task_list("train")[0]
    other = copied(env)
    assert other.score(task, task.answer).score == 1.0
    assert other.source is env.source


class TestOptions:
    def test_splits_and_seeds_share_no_question(self):
        first = fg.make("reasoning/chain_sum-v0", train_tasks=30, heldout_tasks=20)
        second = fg.make("reasoning/chain_sum-v0", train_tasks=30, heldout_tasks=20, seed=1)
        train, heldout = first.task_list("train"), first.task_list("heldout")
        assert (len(train), len(heldout)) == (30, 20)
        assert not {t.prompt for t in train} & {t.prompt for t in heldout}
        assert len({t.prompt for t in train} & {t.prompt for t in second.task_list("train")}) < 3
        again = fg.make("reasoning/chain_sum-v0", train_tasks=30, heldout_tasks=20)
        assert [t.hash for t in again.task_list("train")] == [t.hash for t in train]

    def test_parameters_reach_the_set(self):
        env = fg.make(
            "reasoning/chain_sum-v0", train_tasks=5, heldout_tasks=1, parameters={"min_terms": 5, "max_terms": 5}
        )
        assert all(t.prompt.count("+") + t.prompt.count("-") >= 4 for t in env.task_list("train"))
        with pytest.raises(fg.EnvError, match="invalid parameters"):
            fg.make("reasoning/chain_sum-v0", parameters={"min_trems": 5}).reset()
        with pytest.raises(fg.EnvError, match="invalid parameters"):
            fg.make("reasoning/chain_sum-v0", parameters={"min_terms": -1}).reset()

    def test_answer_tags(self):
        env = fg.make("reasoning/chain_sum-v0", train_tasks=2, heldout_tasks=1, answer="answer-tag")
        task = env.task_list("train")[0]
        right = task.answer
        assert task.prompt.endswith("between <answer> and </answer>.")
        assert env.reference_response(task) == f"<answer>{right}</answer>"
        for response, score in (
            (f"It is <answer> {right} </answer>.", 1.0),
            (f"<think><answer>0</answer></think><answer>{right}</answer>", 1.0),
            (right, 0.0),
            (f"<answer>{right}</answer><answer>{right}</answer>", 0.0),
            (f"</answer>{right}<answer>", 0.0),
            (f"<answer>{right}", 0.0),
        ):
            assert env.score(task, response).score == score
        assert env.vote(task, "<answer> 1  2 </answer>") == "1 2"
        assert env.vote(task, "12") is None

    def test_a_question_that_the_set_no_longer_generates_is_unscorable(self):
        env = env_of("countdown")
        task = env.task_list("train")[0]
        other = fg.Task("another question", task.answer, task.data)
        assert env.score(other, task.answer).status == "unscorable"

    def test_a_fresh_environment_judges_saved_tasks(self):
        task = env_of("countdown").task_list("train")[1]
        assert fg.make("reasoning/countdown-v0").score(task, task.answer).score == 1.0


@pytest.mark.parametrize(
    "names", [["list_functions", "ransom_note"], pytest.param(sorted(DEPEND_ON_HASH_SEED), marks=pytest.mark.slow)]
)
def test_every_process_has_the_same_tasks(names):
    script = (
        "import sys, fdiv_gym as fg\n"
        "for name in sys.argv[1:]:\n"
        "    env = fg.make(f'reasoning/{name}-v0', train_tasks=12, heldout_tasks=6)\n"
        "    tasks = [*env.task_list('train'), *env.task_list('heldout')]\n"
        "    assert all(env.score(task, env.reference_response(task)).score == 1.0 for task in tasks)\n"
        "    print(name, *(task.hash for task in tasks))\n"
    )
    command = [sys.executable, "-c", script, *names]
    first, second = (
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, timeout=200, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second
    assert len(first.split()) == 19 * len(names)


@pytest.mark.slow
def test_no_other_set_depends_on_the_hash_seed():
    script = (
        "import sys, random, fdiv_gym as fg\n"
        "random.seed(int(sys.argv[1]))\n"
        "for name in sys.argv[2:]:\n"
        "    env = fg.make(f'reasoning/{name}-v0', train_tasks=3, heldout_tasks=2)\n"
        "    print(name, *(task.hash for split in ('train', 'heldout') for task in env.task_list(split)))\n"
    )
    names = [name for name in USABLE if name not in DEPEND_ON_HASH_SEED]
    first, second = (
        subprocess.run(
            [sys.executable, "-c", script, seed, *order],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, timeout=300, capture_output=True, text=True,
        ).stdout
        for seed, order in (("11", names), ("12", names[::-1]))
    )  # fmt: skip
    assert set(first.splitlines()) == set(second.splitlines())
    assert len(first.split()) > 5 * len(names)


def test_threads_that_make_entries_restore_the_output():
    from concurrent.futures import ThreadPoolExecutor

    before, filters = sys.stdout, list(warnings.filters)
    names = ["chain_sum", "gcd", "lcm", "rotate_matrix"] * 3
    envs = [fg.make(f"reasoning/{name}-v0", train_tasks=30, heldout_tasks=3, seed=i) for i, name in enumerate(names)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda env: len(env.task_list("train")) > 5, envs))
    assert sys.stdout is before
    assert warnings.filters == filters


def test_a_parameter_cannot_name_a_path_outside_the_package():
    for value in ("../../../../etc/passwd", "/etc/passwd", "~/x"):
        with pytest.raises(fg.EnvError, match=r"invalid parameters: data_file = .* is a path outside the package"):
            fg.make("reasoning/spell_backward-v0", parameters={"data_file": value}).task_list("train")
    with pytest.raises(fg.EnvError, match="invalid parameters"):
        fg.make("reasoning/spell_backward-v0", parameters={"data_file": "no_such_file.txt"}).task_list("train")


def test_a_set_that_fails_in_a_separate_process_reports_the_reason():
    from fdiv_gym_reasoning.fixed_order import make_entries

    with pytest.raises(fg.EnvError, match=r"'word_ladder' failed in a separate process: .*unexpected keyword"):
        make_entries("word_ladder", {"seed": 0, "size": 1, "no_such": 1}, 0, 1)
    with pytest.raises(fg.EnvError, match="invalid parameters"):
        fg.make("reasoning/word_ladder-v0", parameters={"no_such": 1}).reset()


def test_the_documentation_lists_every_set():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "guides" / "environments" / "reasoning.md").read_text()
    before, _, ours = text.partition("## fdiv-gym's scorers")
    for name in USABLE:
        assert (f"| {name} |" in before) == (name in GUARDED)
        assert (f"| {name} |" in ours) == (name in COMPARED)
        assert name in text


AUDIT = """
import os, sys
import reasoning_gym  # imports matplotlib, which makes its folders
import fdiv_gym as fg
from fdiv_gym_reasoning import fixed_order, source
from fdiv_gym_reasoning.catalogue import BLOCKED, DEPEND_ON_HASH_SEED, NAMES

OURS = [sys.executable, "-c", fixed_order._MAKE]
doing, seen, started = None, [], []

def hook(event, arguments):
    if doing is None:
        return
    if doing[1] == "make apart":
        if event == "subprocess.Popen" and arguments[1] == OURS:
            started.append(doing[0])
            return
        if event == "open" and isinstance(arguments[0], int):
            return  # an end of that process's pipe: it was opened without a path
    outside = event in ("subprocess.Popen", "os.system", "os.remove", "os.rename", "os.mkdir", "socket.connect")
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    # Imports execute files; text that is evaluated has no file.
    code = event == "exec" and arguments[0].co_filename == "<string>" and doing[1] == "score"
    if outside or writes or code or (event == "compile" and doing[1] == "score"):
        seen.append((doing, event, str(arguments)[:100]))

def play(name, make):
    global doing
    env = fg.make(f"reasoning/{name}-v0", train_tasks=5, heldout_tasks=1)
    doing = name, make
    tasks = env.task_list("train")
    doing = name, "score"
    for task in tasks:
        for text in (task.answer or "", "1+1", "[1, 2]", '{"0": 1}', "x**2", "A = 1", "up", "U", "1 2\\n3 4"):
            env.score(task, text)
    doing = None

sys.dont_write_bytecode = True
sys.addaudithook(hook)
# Those that are made in a process of their own: first as they are there, then all sets under this hook.
for name in sorted(DEPEND_ON_HASH_SEED):
    play(name, "make apart")
assert set(started) == DEPEND_ON_HASH_SEED, started
source.DEPEND_ON_HASH_SEED = frozenset()
source.source.cache_clear()
for name in NAMES:
    if name not in BLOCKED:
        play(name, "make")
assert not seen, seen
"""


@pytest.mark.slow
def test_nothing_is_written_sent_started_or_evaluated(tmp_path):
    subprocess.run([sys.executable, "-c", AUDIT], check=True, timeout=300, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
