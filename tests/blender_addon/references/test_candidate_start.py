"""The maps of a fit, read back from the files that Cycles renders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.fit.map_files import encode_maps
from render.material.material import MaterialMaps, project_

bpy = pytest.importorskip("bpy")


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize(("resolution", "size"), [(16, (16, 16)), ([32, 16], (16, 32))])
def test_texels_come_back_from_a_fits_files(addon, tmp_path, sets, resolution, size) -> None:
    generator = torch.Generator().manual_seed(3)
    files, wanted = {}, []
    for number in range(sets):
        texels = torch.rand(*size, 9, generator=generator)
        texels[..., 5:7] = texels[..., 5:7] - 0.5
        project_(texels)
        wanted.append(texels)
        for name, data in encode_maps(MaterialMaps(texels), torch.ones(size)).items():
            path = tmp_path / (f"{number}_{name}")
            path.write_bytes(data)
            files[f"{number}/{name}" if sets > 1 else name] = str(path)
    images = len(bpy.data.images)
    found = addon.references.candidate_start.texels_of({"recipes": [{}] * sets, "files": files}, resolution)
    assert len(bpy.data.images) == images
    assert list(found) == [f"start_{number}" for number in range(sets)]
    for number, texels in enumerate(wanted):
        read = found[f"start_{number}"].astype(np.float32)
        assert read.shape == (*size, 9)
        # The base color is stored as sRGB in 8 bits: half a step is at most 0.0045 in linear values.
        assert np.abs(read[..., :3] - texels[..., :3].numpy()).max() < 0.006
        assert np.abs(read[..., 3:5] - texels[..., 3:5].numpy()).max() < 0.0025
        assert np.abs(read[..., 5:8] - texels[..., 5:8].numpy()).max() < 0.001
        assert np.abs(read[..., 8] - texels[..., 8].numpy()).max() < 0.0025
