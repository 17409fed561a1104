"""The wire protocol between Blender and the backend.

Needs only the standard library, numpy and pyzmq, and imports itself relatively, so that the Blender extension can
carry a copy of this folder. `docs/protocol.md` describes the messages.
"""
