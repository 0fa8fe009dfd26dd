"""DBNet: real-time scene-text detection with differentiable binarization (Liao et al., AAAI 2020)."""
