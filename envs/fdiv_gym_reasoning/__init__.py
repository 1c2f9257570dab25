"""The data sets of the package reasoning-gym as environments. Nothing is imported here; see the submodules."""
