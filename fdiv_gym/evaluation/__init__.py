"""Evaluation of a model on an environment, and re-judging of saved samples. Nothing is imported here."""
