"""How a surface scatters light: GGX, its energy terms and its tables, and nvdiffrec's formulas."""
