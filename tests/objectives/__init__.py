"""Tests of objectives, advantages and aggregations."""
