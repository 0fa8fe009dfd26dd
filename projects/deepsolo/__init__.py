"""DeepSolo: a decoder with explicit points that finds text and reads it, alone (Ye et al., CVPR 2023)."""
