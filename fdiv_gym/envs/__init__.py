"""Text environments of one turn and of several: the contracts, the curriculum, and registration with gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.envs.base import Demonstration as Demonstration
    from fdiv_gym.envs.base import Environment as Environment
    from fdiv_gym.envs.base import Split as Split
    from fdiv_gym.envs.conversation import ConversationEnv as ConversationEnv
    from fdiv_gym.envs.curriculum import Curriculum as Curriculum
    from fdiv_gym.envs.curriculum import active_curriculum as active_curriculum
    from fdiv_gym.envs.episode import Episode as Episode
    from fdiv_gym.envs.episode import Reply as Reply
    from fdiv_gym.envs.play import Conversation as Conversation
    from fdiv_gym.envs.play import Player as Player
    from fdiv_gym.envs.registration import get_environment as get_environment
    from fdiv_gym.envs.registration import make as make
    from fdiv_gym.envs.spaces import TextSpace as TextSpace
    from fdiv_gym.envs.text import TextEnv as TextEnv
    from fdiv_gym.envs.tools import ToolEnv as ToolEnv
    from fdiv_gym.envs.tools import ToolEpisode as ToolEpisode

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "base": ["Demonstration", "Environment", "Split"],
        "conversation": ["ConversationEnv"],
        "curriculum": ["Curriculum", "active_curriculum"],
        "episode": ["Episode", "Reply"],
        "play": ["Conversation", "Player"],
        "registration": ["get_environment", "make"],
        "spaces": ["TextSpace"],
        "text": ["TextEnv"],
        "tools": ["ToolEnv", "ToolEpisode"],
    },
)
