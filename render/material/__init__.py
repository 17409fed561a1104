"""Materials: the maps that are fitted, and fields that can stand in for them."""
