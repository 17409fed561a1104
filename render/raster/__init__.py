"""Which triangle each pixel sees, and what follows from that alone."""
