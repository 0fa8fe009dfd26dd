"""From a configuration to models, training, evaluation, checkpoints and the :class:`Spotter`."""
