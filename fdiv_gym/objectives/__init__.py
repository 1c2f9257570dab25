"""Objectives: the contract and the objectives of the paper."""
