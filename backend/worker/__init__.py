"""The worker process: fits and previews beside the server's process, and the pipes between the two."""
