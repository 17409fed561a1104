"""Environment light: cube maps, their prefilter, and lookups in what it makes."""
