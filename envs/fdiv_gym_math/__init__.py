"""Mathematics: a verifier and environments. Nothing is imported here; see the submodules."""
