"""Environments over data sets of problems and answers. Nothing is imported here; see the submodules."""
