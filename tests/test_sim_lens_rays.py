"""Dense ray tables come from `unproject` on whole pictures, where many pixels converge at different steps."""

from __future__ import annotations

import numpy as np

from handcap.cameras import KannalaBrandt4


def test_fisheye_unproject_finds_every_pixel_of_a_picture() -> None:
    camera = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
    pixels = np.stack(np.meshgrid(np.arange(640.0), np.arange(480.0)), axis=-1)
    rays, valid = camera.unproject(pixels)
    assert valid.all()
    back, _ = camera.project(rays)
    np.testing.assert_allclose(back, pixels, atol=1e-6)
