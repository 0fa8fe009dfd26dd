"""Images and words: decoding, the dataset index, augmentation, loaders, and the catalog of datasets.

From file to batch: :mod:`~fasttcm.data.catalog` finds a dataset, :mod:`~fasttcm.data.coco` indexes it,
:mod:`~fasttcm.data.mapper` turns a record into a sample with the transforms of :mod:`~fasttcm.data.augment`, and
:mod:`~fasttcm.data.loading` makes batches of them in an order of :mod:`~fasttcm.data.sampling`.
:mod:`~fasttcm.data.prepare` writes datasets from the files as published, :mod:`~fasttcm.data.check` validates them.
"""
