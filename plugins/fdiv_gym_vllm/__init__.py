"""The rollout engine ``vllm``."""
