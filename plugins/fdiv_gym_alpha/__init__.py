"""More f-divergences: the alpha family, Neyman, Jeffreys, triangular (Le Cam), skewed Jensen-Shannon."""
