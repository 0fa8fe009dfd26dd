"""FCENet: text contours as short Fourier series at every pixel (Zhu et al., CVPR 2021)."""
