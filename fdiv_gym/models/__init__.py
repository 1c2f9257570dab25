"""Models: configuration, loading, the embedded default model, models added to the cache, and chat encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.models.adapters import add_adapter as add_adapter
    from fdiv_gym.models.adapters import initial_model as initial_model
    from fdiv_gym.models.adapters import load_adapter as load_adapter
    from fdiv_gym.models.adapters import merged_in_place as merged_in_place
    from fdiv_gym.models.adapters import merged_weights as merged_weights
    from fdiv_gym.models.adapters import save_adapter as save_adapter
    from fdiv_gym.models.added import AddedModel as AddedModel
    from fdiv_gym.models.added import added_models as added_models
    from fdiv_gym.models.added import remove_model as remove_model
    from fdiv_gym.models.adding import add_model as add_model
    from fdiv_gym.models.chat import ChatEncoder as ChatEncoder
    from fdiv_gym.models.config import EmbeddedModelConfig as EmbeddedModelConfig
    from fdiv_gym.models.config import LoraOptions as LoraOptions
    from fdiv_gym.models.config import ModelConfig as ModelConfig
    from fdiv_gym.models.device import resolve_device as resolve_device
    from fdiv_gym.models.embedded import Demonstrations as Demonstrations
    from fdiv_gym.models.embedded import EnvDemonstrations as EnvDemonstrations
    from fdiv_gym.models.embedded import Progress as Progress
    from fdiv_gym.models.embedded import build as build
    from fdiv_gym.models.embedded import embedded_model_folder as embedded_model_folder
    from fdiv_gym.models.loading import load_model as load_model
    from fdiv_gym.models.loading import load_tokenizer as load_tokenizer
    from fdiv_gym.models.loading import model_source as model_source
    from fdiv_gym.models.loading import weights_hash as weights_hash
    from fdiv_gym.models.quiet import quiet_transformers as quiet_transformers
    from fdiv_gym.models.sealing import damage_of as damage_of
    from fdiv_gym.models.sealing import sealed as sealed
    from fdiv_gym.models.trust import refuse_code as refuse_code

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "adapters": [
            "add_adapter",
            "initial_model",
            "load_adapter",
            "merged_in_place",
            "merged_weights",
            "save_adapter",
        ],
        "added": ["AddedModel", "added_models", "remove_model"],
        "adding": ["add_model"],
        "config": ["EmbeddedModelConfig", "LoraOptions", "ModelConfig"],
        "chat": ["ChatEncoder"],
        "device": ["resolve_device"],
        "loading": ["load_model", "load_tokenizer", "model_source", "weights_hash"],
        "embedded": ["Demonstrations", "EnvDemonstrations", "Progress", "build", "embedded_model_folder"],
        "quiet": ["quiet_transformers"],
        "sealing": ["damage_of", "sealed"],
        "trust": ["refuse_code"],
    },
)
