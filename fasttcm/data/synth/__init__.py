"""Synthetic scene text."""
