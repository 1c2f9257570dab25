"""The rollout engine ``openai``: evaluation of a model behind an OpenAI-compatible server."""
