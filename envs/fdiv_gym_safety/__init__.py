"""Safety: judges of responses, and environments that measure what alignment costs in helpfulness."""
