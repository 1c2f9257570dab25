"""A Rich console that shows control characters of texts as escapes; see ``fdiv_gym.registry.printable``."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fdiv_gym.registry.messages import printable


class PrintableConsole(Console):
    """Rich's console; the control codes of Rich itself (cursor, colours) are sent, those inside texts are not."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable`` with printable text."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
