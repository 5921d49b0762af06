"""One model as it is watched: its rows joined, counted and judged."""
