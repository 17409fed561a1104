"""Materials: the maps that are fitted, and fields that can replace them."""
