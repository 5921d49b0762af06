"""Seeded accidents and shifts that befall a model, and what the daemon's own monitor says of them."""
