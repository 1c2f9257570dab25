"""Games in several turns: environments with a state. Nothing is imported here; see the submodules."""
