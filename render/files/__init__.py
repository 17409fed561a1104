"""Scene files of other programs: OBJ with MTL, and glTF."""
