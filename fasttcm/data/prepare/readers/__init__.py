"""Readers of published annotation formats, one module each.

A reader yields :class:`~fasttcm.data.prepare.picture.Picture`s in the publisher's terms; everything that is the same
for all of them (image files, reading order, curves, boxes) is the writer's business.
"""
