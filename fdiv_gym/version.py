"""The version of fdiv-gym, read by the build too."""

__version__ = "0.1.0"
