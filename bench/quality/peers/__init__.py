"""Evidently and NannyML, which run in an environment and in processes of their own: rows in, JSON out."""
