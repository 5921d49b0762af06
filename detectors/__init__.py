"""Drift and anomaly detectors: pure computation, no I/O, no clock."""
