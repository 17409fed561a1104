"""The command line `pbrfit`."""
