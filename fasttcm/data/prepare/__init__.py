"""``fasttcm prepare``: datasets as published, written as our JSON, an image folder and a card.

:mod:`source` finds files in folders and archives, the modules of :mod:`readers` know the published formats,
:mod:`writer` turns what they yield into our format, :mod:`recipes` lists the datasets, :mod:`run` does it all.
"""
