"""The objectives that others published, to compare with: on-policy and on preference data."""
