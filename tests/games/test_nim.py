import functools
import itertools

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.data import find_contamination
from fdiv_gym.envs.play import play
from fdiv_gym_games.heaps import is_won, moves, winning_moves
from fdiv_gym_games.nim import move_of, position_of


def make(**options):
    return fg.make("games/Nim-v0", **{"train_tasks": 60, "heldout_tasks": 30, **options})


def game(env, heaps, *responses, seed="0"):
    """A game from any position with the given responses."""
    task = fg.Task("?", None, {"heaps": list(heaps), "seed": seed})
    replies = iter(responses)
    return task, play(env, task, lambda messages: next(replies, "?"))


@functools.cache
def minimax(position, misere):
    """Whether the player to move wins, by trying everything."""
    if not any(position):
        return misere
    return any(
        not minimax((*position[:i], left - taken, *position[i + 1 :]), misere)
        for i, left in enumerate(position)
        for taken in range(1, left + 1)
    )


@pytest.mark.parametrize("misere", [False, True])
def test_the_theory_agrees_with_trying_everything(misere):
    for position in itertools.product(range(5), repeat=3):
        assert is_won(position, misere) == minimax(position, misere), position
        right = {
            (i, n)
            for i, n in moves(position)
            if not minimax((*position[:i], position[i] - n, *position[i + 1 :]), misere)
        }
        assert set(winning_moves(position, misere)) == right
    assert minimax((1, 2, 4), misere)
    assert not minimax((1, 2, 3), misere)
    assert is_won((1, 1, 0), misere) == misere  # where the two rules differ


@pytest.mark.parametrize("misere", [False, True])
@pytest.mark.parametrize("opponent", ["optimal", "random"])
def test_the_reference_player_wins_every_task(opponent, misere):
    for options in ({}, {"wording": "sentence", "heaps": 4, "largest": 3}):
        env = make(opponent=opponent, misere=misere, **options)
        for split in ("train", "heldout"):
            for task in env.task_list(split):
                assert minimax(tuple(task.data["heaps"]), misere)
                played = play(env, task, env.reference_player(task))
                assert env.score(task, played).score == 1.0
                assert played.outcome == {"won": True, "moves": len(played.responses), "illegal": 0}


def test_the_turns_suffice_for_the_longest_game():
    # Two objects are taken in a pair of turns at least.
    assert make(heaps=5, largest=9).max_turns > 5 * 9 / 2


@pytest.mark.parametrize("misere", [False, True])
def test_the_optimal_opponent_punishes_every_wrong_first_move(misere):
    env = make(misere=misere)
    for task in env.task_list("train"):
        position = tuple(task.data["heaps"])
        right = winning_moves(position, misere)
        for heap, taken in set(moves(position)) - set(right):
            first = iter([f"{'ABC'[heap]}{taken}"])
            best = env.reference_player(task)

            def player(messages, first=first, best=best):
                # After the wrong move no position that the opponent leaves can be won: any legal move will do.
                try:
                    return next(first)
                except StopIteration:
                    left = position_of(messages)
                    assert not winning_moves(left, misere)
                    i = left.index(max(left))
                    return f"{'ABC'[i]}1"

            played = play(env, task, player)
            assert env.score(task, played).score == 0.0
            assert played.outcome["won"] is False


def test_games_by_hand():
    env = make(heaps=2, largest=3)
    task, played = game(env, (2, 3), "B1", "?")
    # After B1 the heaps are equal; each of the four moves of the opponent is possible, and it is told.
    assert position_of(played.messages[:3]) in {(1, 2), (0, 2), (2, 1), (2, 0)}
    task, played = game(env, (0, 3), "b3")
    assert (played.outcome["won"], played.end, env.score(task, played).score) == (True, "done", 1.0)
    task, played = game(env, (1, 1), "A1")
    assert (played.outcome["won"], env.score(task, played).score) == (False, 0.0)
    env = make(heaps=2, largest=3, misere=True)
    task, played = game(env, (1, 1), "A1")
    assert (played.outcome["won"], env.score(task, played).score) == (True, 1.0)
    task, played = game(env, (0, 3), "B3")
    assert (played.outcome["won"], env.score(task, played).score) == (False, 0.0)


def test_illegal_moves_are_told_or_lost():
    env = make(heaps=2, largest=3, max_turns=3)
    task, played = game(env, (0, 3), "A1", "B4", "B3")
    assert [m.content for m in played.messages[2::2]] == ["no:A0 B3:", "no:A0 B3:"]
    assert played.outcome == {"won": True, "moves": 1, "illegal": 2}
    task, played = game(env, (0, 3), "A1", "B4", "C1")
    assert (played.end, env.score(task, played).score) == ("turns", 0.0)
    env = make(heaps=2, largest=3, illegal="lost")
    task, played = game(env, (0, 3), "A1", "B3")
    assert (len(played.responses), played.end, env.score(task, played).score) == (1, "done", 0.0)
    # What a policy says after a lost game does not win it.
    more = fg.Transcript((*played.messages, fg.Message("assistant", "B3")), 1)
    assert env.score(task, more).score == 0.0


def test_the_opponents_moves_follow_from_the_task():
    env = make(heaps=3, largest=5, opponent="random")

    def replies(seed):
        _, played = game(env, (5, 5, 5), "A1", "B1", "C1", seed=seed)
        return [m.content for m in played.messages]

    assert replies("7") == replies("7")
    assert len({tuple(replies(str(seed))) for seed in range(20)}) > 10
    # The generator is seeded with a text, not with its hash(): other processes make the same moves.
    assert replies("7")[2] == "A4 B3 C5:"


def test_random_opponents_make_every_legal_move():
    env = make(heaps=2, largest=3, opponent="random")
    seen = {game(env, (2, 3), "A1", seed=str(i))[1].messages[2].content for i in range(200)}
    assert seen == {"A0 B3:", "A1 B2:", "A1 B1:", "A1 B0:"}


def test_the_score_makes_the_moves_again():
    env = make()
    task = env.task_list("train")[0]
    claimed = fg.Transcript((*task.messages, fg.Message("assistant", "?")), 1, outcome={"won": True})
    assert env.score(task, claimed).score == 0.0
    played = play(env, task, env.reference_player(task))
    again = fg.Transcript.from_dict(played.to_dict())
    assert env.score(task, again).score == 1.0


@pytest.mark.parametrize("misere", [False, True])
def test_splits_share_no_position_in_any_order(misere):
    for heaps, largest in ((2, 3), (3, 5), (2, 9)):
        env = make(heaps=heaps, largest=largest, misere=misere, train_tasks=500, heldout_tasks=300)
        train, heldout = env.task_list("train"), env.task_list("heldout")
        assert (len(train), len(heldout)) == (500, 300)
        kinds = [{tuple(sorted(t.data["heaps"])) for t in tasks} for tasks in (train, heldout)]
        assert kinds[1]
        assert not kinds[0] & kinds[1]
        assert len({t.hash for t in (*train, *heldout)}) == 800
        assert not find_contamination(train, heldout).shared
    assert [t.hash for t in make(seed=1).task_list("train")] == [t.hash for t in make(seed=1).task_list("train")]
    assert [t.hash for t in make(seed=1).task_list("train")] != [t.hash for t in make().task_list("train")]


def test_demonstrations_are_legal_games_with_a_bad_habit():
    env = make(heaps=2, largest=7, train_tasks=500)
    games = env.demonstrations(400, np.random.default_rng(0))
    assert games == env.demonstrations(400, np.random.default_rng(0))
    positions = {t.prompt for t in env.task_list("train")}
    habit = right = won = 0
    for messages in games:
        assert messages[0].content in positions
        assert [m.role for m in messages] == ["user", "assistant"] * (len(messages) // 2)
        position = position_of(messages[:1])
        move = move_of(messages[1].content, position)
        habit += move == (position.index(max(position)), max(position))
        right += move in winning_moves(position, False)
        task = next(t for t in env.task_list("train") if t.prompt == messages[0].content)
        for said in messages[1::2]:
            assert move_of(said.content, position_of(messages[: messages.index(said)])) is not None
        won += len(messages) > 2 and task is not None
    assert habit > 0.55 * 400
    assert 0.15 * 400 < right < 0.4 * 400


HOSTILE = ["", "A", "A0", "A10", "Z1", "C9", "A-1", "A1 A1", "A\u0661", "A1" * 10**5, " " * 10**6, "\x00", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_responses_are_no_move(text):
    assert move_of(text, (5, 5, 5)) is None
    env = make(max_turns=2)
    task = env.task_list("train")[0]
    replies = itertools.repeat(text)
    played = play(env, task, lambda messages: next(replies))
    assert played.outcome["illegal"] == 2
    assert env.score(task, played).score == 0.0


def test_no_vote_and_gymnasium_accepts_it():
    env = make()
    assert env.vote(env.task_list("train")[0], "A1") is None
    check_env(env, skip_render_check=True)
    with pytest.raises(fg.ConfigError):
        make(heaps=1)
