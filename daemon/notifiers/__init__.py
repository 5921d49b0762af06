"""Where alerts go: one module per service."""
