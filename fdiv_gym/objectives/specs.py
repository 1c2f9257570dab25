"""Types of options that name another plugin: a registered name, a table with its name and options, or an instance."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic.json_schema import SkipJsonSchema

from fdiv_gym.advantages.aggregation import Aggregation
from fdiv_gym.advantages.base import Advantage
from fdiv_gym.divergences.base import Divergence

DivergenceOption = str | dict[str, Any] | Annotated[Divergence, SkipJsonSchema()]
AdvantageOption = str | dict[str, Any] | Annotated[Advantage, SkipJsonSchema()]
AggregationOption = str | dict[str, Any] | Annotated[Aggregation, SkipJsonSchema()]
