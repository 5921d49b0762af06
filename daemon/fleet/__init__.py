"""Several workers on one store: who there is, and who does what."""
