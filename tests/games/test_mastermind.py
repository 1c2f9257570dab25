import itertools

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.data import find_contamination
from fdiv_gym.envs.play import play
from fdiv_gym_games.codes import Codes, compare, marks
from fdiv_gym_games.mastermind import guess_of


def make(**options):
    return fg.make("games/Mastermind-v0", **options)


def transcript(env, task, *guesses):
    replies = iter(guesses)
    return play(env, task, lambda messages: next(replies, "?"))


def task_of(env, code):
    return next(t for split in ("train", "heldout") for t in env.task_list(split) if t.answer == code)


@pytest.mark.parametrize(
    ("code", "guess", "answer"),
    [
        ("AABB", "AABB", (4, 0)),
        ("AABB", "BBAA", (0, 4)),
        ("AABB", "ABAB", (2, 2)),
        ("ABCD", "AAAA", (1, 0)),  # one A in the code counts once
        ("AABC", "DAAA", (1, 1)),
        ("ABCD", "EEFF", (0, 0)),
        ("ABCD", "BCDA", (0, 4)),
    ],
)
def test_answers_by_hand(code, guess, answer):
    assert compare(code, guess) == answer


@pytest.mark.parametrize(
    ("code", "guess", "answer"),
    [
        ("AABB", "AABB", "A+A+B+B+"),
        ("ABCD", "AAAA", "A+A-A-A-"),  # one A in the code counts once, at its place
        ("AABC", "DAAA", "D-A+AoA-"),  # and then from left to right
        ("BAAC", "ABDA", "AoBoD-Ao"),
        ("ABCD", "EEFF", "E-E-F-F-"),
    ],
)
def test_marks_by_hand(code, guess, answer):
    env = make(feedback="marks", max_turns=2)
    played = transcript(env, task_of(env, code), guess, code)
    assert [m.content for m in played.messages[2:-1]] == ([f"{answer}:"] if code != guess else [])
    assert len(marks(code, guess)) == 4
    assert compare(code, guess) == (answer.count("+"), answer.count("o"))


def test_every_answer_with_marks_leaves_the_codes_that_would_give_it():
    codes = Codes(3, 3, "marks")
    for code, guess in itertools.product(codes.all, repeat=2):
        found = [codes.all[i] for i in codes.consistent([(guess, marks(code, guess))])]
        assert found == [other for other in codes.all if marks(other, guess) == marks(code, guess)]
        assert code in found


def strike_out(code, guess):
    """Another way to the same counts: strike out exact symbols, then match the rest one by one."""
    rest = [(a, b) for a, b in zip(code, guess, strict=True) if a != b]
    left = [a for a, _ in rest]
    misplaced = 0
    for _, symbol in rest:
        if symbol in left:
            left.remove(symbol)
            misplaced += 1
    return len(code) - len(rest), misplaced


@pytest.mark.parametrize(("length", "symbols"), [(3, 4), (2, 10)])
def test_the_table_and_the_rule_agree_with_striking_out(length, symbols):
    codes = Codes(length, symbols)
    assert codes.all == sorted(codes.all)
    assert len(set(codes.all)) == symbols**length
    for code, guess in itertools.product(codes.all, repeat=2):
        assert compare(code, guess) == strike_out(code, guess)
    for guess in codes.all[::7]:
        for answer in {compare(code, guess) for code in codes.all}:
            found = [codes.all[i] for i in codes.consistent([(guess, answer)])]
            assert found == [code for code in codes.all if strike_out(code, guess) == answer]


def test_the_reference_player_finds_every_code_of_the_default_size():
    env = make()
    tasks = [*env.task_list("train"), *env.task_list("heldout")]
    assert sorted(task.answer for task in tasks) == Codes(4, 6).all
    lengths = []
    for task in tasks:
        played = play(env, task, env.reference_player(task))
        assert env.score(task, played).score == 1.0
        lengths.append(len(played.responses))
    assert max(lengths) == 9 <= env.max_turns


@pytest.mark.parametrize(
    "options", [{"wording": "sentence"}, {"feedback": "marks"}, {"wording": "sentence", "feedback": "marks"}]
)
def test_the_reference_player_reads_words_and_marks_too(options):
    env = make(length=3, symbols=3, max_turns=6, **options)
    for task in env.task_list("train"):
        assert env.score(task, play(env, task, env.reference_player(task))).score == 1.0


def test_a_game_as_gymnasium_shows_it():
    for split in ("train", "heldout"):
        env = make(length=3, symbols=4, max_turns=3, split=split)
        codes = [task.answer for task in env.task_list(split)]
        if "ABB" in codes:
            break
    index = codes.index("ABB")
    assert env.reset(options={"task": index})[0] == "3 of ABCD:"
    assert env.step("BAB")[:4] == ("1 2:", 0.0, False, False)
    assert env.step("no idea")[:4] == ("no code:", 0.0, False, False)
    assert env.step(" a b\nb ")[1:4] == (1.0, True, False)
    env.reset(options={"task": index})
    for guess in ("AAA", "CCC"):
        env.step(guess)
    assert env.step("DDD")[1:4] == (0.0, True, False)  # the number of guesses is a rule: lost, not cut off


def test_outcome_and_malformed_guesses_are_counted():
    env = make(length=2, symbols=4, max_turns=4)
    played = transcript(env, task_of(env, "AB"), "XY", "BA", "ABA", "ab")
    assert played.outcome == {"solved": True, "guesses": 2, "malformed": 2}
    assert [m.content for m in played.messages if m.role == "user"] == ["2 of ABCD:", "no code:", "0 2:", "no code:"]
    assert played.end == "done"


def test_partial_credit_is_half_of_the_best_share():
    plain, partial = make(max_turns=2), make(max_turns=2, partial_credit=True)
    task = task_of(plain, "ABCD")
    played = transcript(plain, task, "ABEE", "ABCE")
    assert plain.score(task, played).score == 0.0
    assert partial.score(task, played).score == 3 / 4 / 2
    assert partial.score(task, transcript(partial, task, "ABEE", "ABCD")).score == 1.0
    assert partial.score(task, transcript(partial, task, "?", "?")).score == 0.0


def test_the_score_does_not_believe_the_outcome():
    env = make()
    task = task_of(env, "ABCD")
    claimed = fg.Transcript((*task.messages, fg.Message("assistant", "FFFF")), 1, outcome={"solved": True})
    assert env.score(task, claimed).score == 0.0


def test_splits_share_no_code_whatever_the_options():
    options: list[dict] = [{}, {"max_turns": 3}, {"wording": "sentence"}, {"feedback": "marks"}]
    held_out = [{t.answer for t in make(**o).task_list("heldout")} for o in options]
    assert all(codes == held_out[0] for codes in held_out)
    for size in ({}, {"length": 2, "symbols": 2}, {"length": 2, "symbols": 6}):
        env = make(**size)
        train, heldout = ({t.answer for t in env.task_list(split)} for split in ("train", "heldout"))
        assert heldout
        assert not train & heldout
        assert len(heldout) == max(1, (len(train) + len(heldout)) // 5)
    # All prompts are equal, the codes are not: the check of contamination compares the codes.
    assert not find_contamination(env.task_list("train"), env.task_list("heldout")).shared
    assert len(find_contamination(env.task_list("train"), env.task_list("train")[:3]).shared) == 3


def test_demonstrations_are_games_of_a_careless_player_on_training_codes():
    env = make(length=2, symbols=6, max_turns=6)
    games = env.demonstrations(300, np.random.default_rng(0))
    heldout = {t.answer for t in env.task_list("heldout")}
    repeated = guesses = solved = 0
    for game in games:
        said = [m.content for m in game if m.role == "assistant"]
        assert 1 <= len(said) <= 6
        assert [m.role for m in game] == ["user", "assistant"] * len(said)
        repeated += sum(a == b for a, b in itertools.pairwise(said))
        guesses += len(said) - 1
        solved += len(said) < 6
        if len(said) < 6:
            assert said[-1] not in heldout
    assert abs(repeated / guesses - 0.6) < 0.04
    assert 0.1 < solved / 300 < 0.6
    assert games == env.demonstrations(300, np.random.default_rng(0))
    assert all(len({*said}) == len(said) for said in _guesses(make(length=2, symbols=6, careless=0)))


def _guesses(env):
    for game in env.demonstrations(20, np.random.default_rng(0)):
        yield [m.content for m in game if m.role == "assistant"]


HOSTILE = [
    "",
    "ﬀAB",
    " ",
    "ABC",
    "ABCDE",
    "ABC7",
    "\x00" * 4,
    "ÅBCD",
    "ABCD" * 10**5,
    " " * 10**6,
    "\ud800BCD",
    "1 2 3 4",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_responses_are_no_guess(text):
    assert guess_of(text, 4, "ABCDEF") is None
    env = make(max_turns=2)
    task = env.task_list("train")[0]
    played = transcript(env, task, text, text)
    assert played.outcome["malformed"] == 2
    assert env.score(task, played).score == 0.0


def test_sizes_that_are_too_large_are_refused():
    with pytest.raises(fg.ConfigError, match="at most 4096 are possible: decrease length or symbols"):
        make(length=5, symbols=6)
    assert make(length=6, symbols=4).options.symbols ** 6 == 4096


def test_a_game_has_no_vote_and_gymnasium_accepts_the_environment():
    env = make(length=2, symbols=4)
    assert env.vote(env.task_list("train")[0], "AB") is None
    check_env(env, skip_render_check=True)


def longest(length, symbols, feedback):
    """Guesses of the reference player for the hardest code: it guesses the first of the codes that agree."""
    codes = Codes(length, symbols, feedback)
    most, groups = 0, [(1, codes.all)]
    while groups:
        turn, (guess, *others) = groups.pop()
        most = max(most, turn)
        split = {}
        for code in others:
            split.setdefault(compare(code, guess, feedback), []).append(code)
        groups += [(turn + 1, group) for group in split.values()]
    return most


@pytest.mark.parametrize(
    ("length", "symbols", "counts"),
    [(2, 9, 10), (2, 10, 11), (3, 8, 10), (3, 9, 11), (3, 10, 12), (4, 6, 9), (6, 2, 7)],
)
def test_the_guesses_of_the_reference_player_at_most(length, symbols, counts):
    """The guide names the sizes that take more than the 10 turns of the default."""
    assert longest(length, symbols, "counts") == counts
    assert longest(length, symbols, "marks") == symbols


def test_the_hardest_code_needs_more_turns_than_the_default():
    codes = {"default": make(length=2, symbols=10), "raised": make(length=2, symbols=10, max_turns=11)}
    played = {
        name: [env.score(task, env.play(task, env.reference_player(task))).score for task in env.task_list("train")]
        for name, env in codes.items()
    }
    assert min(played["default"]) == 0.0
    assert min(played["raised"]) == 1.0


def test_the_sentence_about_marks_says_that_letters_count_once():
    """The code AABC answers DAAA by D-A+AoA-: the last A is in the code, but counted already."""
    text = make(wording="sentence", feedback="marks").task_list("train")[0].text
    assert "- neither; each letter of the code counts once." in text
    assert "counts once" not in make(wording="sentence").task_list("train")[0].text
