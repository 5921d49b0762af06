"""The HTTP interface and the status page."""
