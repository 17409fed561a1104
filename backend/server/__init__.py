"""The process that serves clients: its socket, its keys, its store and its replies."""
