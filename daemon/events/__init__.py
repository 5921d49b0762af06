"""Bytes and tables in, columns of events out."""
