"""ABCNet: Adaptive Bezier-Curve Network, a one-stage curved-text spotter (Liu et al., CVPR 2020; TPAMI 2021)."""
