"""Tools for models, and environments in which a model calls them."""
