"""f-divergences: the contract, the six of the paper, and divergences derived from a generator."""
