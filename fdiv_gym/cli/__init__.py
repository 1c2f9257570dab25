"""The command line ``fdiv-gym``; every command's body is imported when the command runs."""
