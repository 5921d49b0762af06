"""How a model reaches its service: one module per deployer."""
