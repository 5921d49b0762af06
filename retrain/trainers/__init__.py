"""How a model is trained: one module per trainer."""
