"""Data: readers of files and data sets, preference data, contamination checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.data.config import PreferenceColumns as PreferenceColumns
    from fdiv_gym.data.config import PreferencesConfig as PreferencesConfig
    from fdiv_gym.data.contamination import Contamination as Contamination
    from fdiv_gym.data.contamination import content_hash as content_hash
    from fdiv_gym.data.contamination import find_contamination as find_contamination
    from fdiv_gym.data.contamination import task_content_hash as task_content_hash
    from fdiv_gym.data.demonstrations import PreferenceDemonstrations as PreferenceDemonstrations
    from fdiv_gym.data.preferences import PreferenceData as PreferenceData
    from fdiv_gym.data.preferences import PreferenceRow as PreferenceRow
    from fdiv_gym.data.preferences import encode_units as encode_units
    from fdiv_gym.data.preferences import load_preferences as load_preferences
    from fdiv_gym.data.records import Record as Record
    from fdiv_gym.data.records import read_records as read_records

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "config": ["PreferenceColumns", "PreferencesConfig"],
        "demonstrations": ["PreferenceDemonstrations"],
        "records": ["Record", "read_records"],
        "preferences": ["PreferenceData", "PreferenceRow", "encode_units", "load_preferences"],
        "contamination": ["Contamination", "content_hash", "find_contamination", "task_content_hash"],
    },
)
