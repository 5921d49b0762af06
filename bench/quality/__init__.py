"""How well driftd detects, estimates and explains, beside what others do on the same rows: one command, fixed seeds."""
