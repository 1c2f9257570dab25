"""games/Nim-v0: take from heaps in turns; whoever takes the last one wins."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Player, Split
from fdiv_gym_games.heaps import Move, Position, after, is_won, moves, winning_moves, written
from fdiv_gym_games.splits import part

LONGEST = 100
"""Characters of a response that is read as a move."""
_MOVE = re.compile(r"([A-Ea-e]) ?([1-9])")
_POSITION = re.compile(r"A[0-9](?: [B-E][0-9])*")


class Nim(fg.ConversationEnv):
    """Nim with ``heaps`` heaps: a turn takes one or more from one heap. A won game scores 1, any other 0.

    The policy moves first, from positions that it can win. ``B2`` takes two from heap B. The opponent's moves follow
    from the task: the optimal one moves at random only where it has lost, so that one wrong move loses the game. One
    start position in five is held out, with all orders of its heaps; training games may pass through it later.

    Source: C. L. Bouton, Nim, a game with a complete mathematical theory, Annals of Mathematics 3 (1901).
    """

    class Options(fg.ConversationEnv.Options):
        """The game and the opponent."""

        heaps: int = pydantic.Field(3, ge=2, le=5)
        """Heaps at the start."""
        largest: int = pydantic.Field(5, ge=3, le=9)
        """How many a heap holds at the start, at most."""
        misere: bool = False
        """Whoever takes the last one loses."""
        opponent: Literal["optimal", "random"] = "optimal"
        """Who plays against the policy: ``optimal`` wins whenever it can; ``random`` makes any legal move."""
        illegal: Literal["told", "lost"] = "told"
        """A response that is no legal move is told so and takes a turn, or loses the game."""
        wording: Literal["bare", "sentence"] = "bare"
        """How the rules are told: ``sentence`` states them in words, for models that can read."""
        careless: float = pydantic.Field(0.6, ge=0, le=1)
        """Probability that a move of a demonstration takes a whole largest heap; of the others half are right."""
        train_tasks: int = pydantic.Field(2_000, ge=1)
        """Training games; each start position may come up several times, with other moves of the opponent."""
        heldout_tasks: int = pydantic.Field(256, ge=1)
        """Held-out games."""
        seed: int = 0
        """Seed of the games."""

    options: Options
    default_turns = 24
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "episode/won": "Nim: the share of games that the policy won.",
        "episode/moves": "Nim: legal moves of the policy in a game.",
        "episode/illegal": "Nim: responses in a game that were no legal move.",
    }

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """Games from positions that the first player can win."""
        o = self.options
        sizes = itertools.combinations_with_replacement(range(1, o.largest + 1), o.heaps)
        known = {"".join(map(str, heaps)): heaps for heaps in sizes if is_won(heaps, o.misere)}
        positions = [order for name in part(known, split) for order in sorted(set(itertools.permutations(known[name])))]
        rng = np.random.default_rng([o.seed, split == "heldout"])
        wanted = o.train_tasks if split == "train" else o.heldout_tasks
        tasks: list[fg.Task] = []
        while len(tasks) < wanted:
            for i in rng.permutation(len(positions))[: wanted - len(tasks)]:
                position = positions[int(i)]
                # Every game has a number of its own: no two have the same moves of the opponent by design.
                data = {"heaps": list(position), "seed": f"{split} {o.seed} {len(tasks)}"}
                tasks.append(fg.Task(self._prompt(position), None, data))
        return tasks

    def begin(self, task: fg.Task) -> fg.Episode:
        """A game from the task's position."""
        return _Game(self.options, task)

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 for a game that was won, else 0; the moves are made again."""
        game = _Game(self.options, task)
        for response in transcript.responses:
            game.reply(response)
        return fg.Verdict.scored(float(game.won is True), {True: "", False: "lost", None: "not finished"}[game.won])

    def vote(self, task: fg.Task, response: str) -> str | None:
        """None: the last moves of several games are no answers to the same question."""
        return None

    def reference_player(self, task: fg.Task) -> Player:
        """Makes the first winning move."""
        return lambda messages: move_text(winning_moves(position_of(messages), self.options.misere)[0])

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[Sequence[fg.Message]]:
        """Training games of a player who often takes a whole largest heap.

        Of the other moves half are winning ones, where there are any, the rest any legal ones. With ``careless`` above
        one half the most likely move is a bad habit.
        """
        tasks = self.task_list("train")
        return [self._demonstrated(tasks[int(i)], rng) for i in rng.integers(len(tasks), size=count)]

    def _demonstrated(self, task: fg.Task, rng: np.random.Generator) -> list[fg.Message]:
        game, messages = _Game(self.options, task), list(task.messages)
        while True:
            move = move_text(self._careless_move(game.position, rng))
            messages.append(fg.Message("assistant", move))
            said = game.reply(move)
            if said is None or game.moves == self.max_turns:
                return messages
            messages.append(fg.Message("user", said))

    def _careless_move(self, position: Position, rng: np.random.Generator) -> Move:
        if rng.random() < self.options.careless:
            heap = position.index(max(position))
            return heap, position[heap]
        right = winning_moves(position, self.options.misere) if rng.random() < 0.5 else []
        choice = right or moves(position)
        return choice[int(rng.integers(len(choice)))]

    def _prompt(self, position: Position) -> str:
        if self.options.wording == "bare":
            return f"{written(position)}:"
        last = "loses" if self.options.misere else "wins"
        return (
            "We play Nim. In a turn one takes one or more from one heap. Whoever takes the last one of all heaps "
            f"{last}. You begin. Reply with the letter of a heap and how many you take, such as B2, and nothing else. "
            f"The heaps: {written(position)}"
        )


class _Game(fg.Episode):
    """One game: the position, and who won."""

    def __init__(self, options: Nim.Options, task: fg.Task) -> None:
        self._options, self._seed = options, str(task.data["seed"])
        self.position: Position = tuple(int(left) for left in task.data["heaps"])
        self.won: bool | None = None
        self.moves = self.illegal = 0

    def reply(self, response: str) -> str | None:
        """The position after the opponent's move; None at the end of the game."""
        if self.won is not None:
            return None
        move = move_of(response, self.position)
        if move is None:
            self.illegal += 1
            if self._options.illegal == "lost":
                self.won = False
                return None
            return self._said("no:", "That is no legal move.")
        self.moves += 1
        self.position = after(self.position, move)
        if self._ended(mover=True):
            return None
        answer = self._answer()
        self.position = after(self.position, answer)
        if self._ended(mover=False):
            return None
        return self._said("", f"I take {answer[1]} from {'ABCDE'[answer[0]]}.")

    def outcome(self) -> dict[str, Any]:
        """Whether the game was won, and how many moves were made."""
        return {"won": self.won is True, "moves": self.moves, "illegal": self.illegal}

    def _ended(self, mover: bool) -> bool:
        """Whether nothing is left; the one who moved last, the policy or not, has won then, or lost if misere."""
        if any(self.position):
            return False
        self.won = mover != self._options.misere
        return True

    def _answer(self) -> Move:
        right = winning_moves(self.position, self._options.misere) if self._options.opponent == "optimal" else []
        choice = right or moves(self.position)
        # A text seeds this generator alike on every machine and in every process.
        return random.Random(f"{self._seed} {self.moves} {self.position}").choice(choice)

    def _said(self, bare: str, sentence: str) -> str:
        if self._options.wording == "bare":
            return f"{bare}{written(self.position)}:"
        return f"{sentence} The heaps: {written(self.position)}"


def move_of(response: str, position: Position) -> Move | None:
    """The legal move that a response consists of, or None."""
    found = None if len(response) > LONGEST else _MOVE.fullmatch(response.strip())
    if found is None:
        return None
    heap, taken = ord(found[1].upper()) - ord("A"), int(found[2])
    return (heap, taken) if heap < len(position) and taken <= position[heap] else None


def move_text(move: Move) -> str:
    """A move as a response: ``B2``."""
    return f"{'ABCDE'[move[0]]}{move[1]}"


def position_of(messages: Sequence[fg.Message]) -> Position:
    """The position that the last message states."""
    stated = _POSITION.findall(messages[-1].content)[-1]
    return tuple(int(part[1:]) for part in stated.split())
