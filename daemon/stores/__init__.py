"""Where state lives: the store and its tables."""
