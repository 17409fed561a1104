"""How large and how often the previews of a job come to a client that watches it: the limits at both ends."""

# Pixels along each side of a preview.
LARGEST_WATCHED = 1024
# Seconds between two previews of a job.
SHORTEST_INTERVAL_S = 0.05
