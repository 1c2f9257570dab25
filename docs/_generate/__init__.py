"""The modules of ``docs/generate.py``, one for each generated page."""
