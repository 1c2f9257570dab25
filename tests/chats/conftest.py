"""Chats in the form of real templates."""

import pytest


@pytest.fixture
def trusted(monkeypatch):
    """No process is forked to check a template: those of an installed package are known to be harmless."""
    from fdiv_gym.models import chat

    monkeypatch.setattr(chat, "check_template", lambda tokenizer: None)
