"""``python -m fdiv_gym.cli``."""

from fdiv_gym.cli.main import main

main()
