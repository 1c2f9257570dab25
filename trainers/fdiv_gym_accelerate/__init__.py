"""The default trainer of fdiv-gym, on accelerate, and the rollout engine on transformers."""
