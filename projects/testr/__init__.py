"""TESTR: Text Spotting Transformers, one encoder and two decoders (Zhang et al., CVPR 2022); polygon variant."""
