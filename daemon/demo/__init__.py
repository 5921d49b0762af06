"""The whole loop in three minutes: a model in service, a world that changes, and the daemon between them."""
