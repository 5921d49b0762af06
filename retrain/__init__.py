"""Retraining: long blocking work, run as a child process."""
