"""PAN: Pixel Aggregation Network, kernels that grow into text over similar pixels (Wang et al., ICCV 2019)."""
