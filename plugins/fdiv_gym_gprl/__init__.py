"""GPRL: preferences of several dimensions as rewards (arXiv 2605.18721), with a monitor of their drift."""
