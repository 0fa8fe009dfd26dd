"""Losses that several heads share, each written once: focal, IoU, dice, balanced cross-entropy, hard-example mining."""
