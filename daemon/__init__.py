"""The running service: event loop, sockets, time and signals."""
