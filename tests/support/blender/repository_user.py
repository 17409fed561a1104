"""A user of a static repository of extensions, in a Blender of their own: python repository_user.py ADDRESS PUBLISH...

Installs the add-on from the repository's address, runs the command PUBLISH, which puts another version into the repository, and
lets Blender update the add-on. Prints both versions. BLENDER_USER_RESOURCES says where this user's files are.
"""

from __future__ import annotations

import os
import subprocess
import sys

import bpy


def running_version() -> str:
    """The version of the add-on that runs."""
    return str(sys.modules["bl_ext.ours.pbrfit"].setup.state.addon_version())


def main(address: str, publish: list[str]) -> None:
    """Install, publish, update."""
    repositories = bpy.context.preferences.extensions.repos
    for other in [item for item in repositories if item.use_remote_url]:
        repositories.remove(other)  # Nothing leaves this machine.
    bpy.context.preferences.system.use_online_access = True  # Blender insists, also where the address is a file's.
    index = len(repositories)
    repositories.new(name="Ours", module="ours", remote_url=address)
    bpy.ops.extensions.repo_sync(repo_index=index)
    bpy.ops.extensions.package_install(repo_index=index, pkg_id="pbrfit", enable_on_install=True)
    first = running_version()
    subprocess.run(publish, check=True, capture_output=True)
    bpy.ops.extensions.repo_sync(repo_index=index)
    bpy.ops.extensions.package_upgrade_all()
    print(f"\nversions {first} {running_version()}", flush=True)
    os._exit(0)  # Blender 4.2 crashes and 4.5 hangs when Python shuts down with classes registered.


main(sys.argv[1], sys.argv[2:])
