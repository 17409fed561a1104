"""Which triangle each pixel sees, and the values that follow from that alone."""
