"""Synthetic scene text: signs, posters, labels and lonely words on procedural backgrounds, with exact annotations."""

from fasttcm.data.synth.crop import WordCrop, render_word_crop
from fasttcm.data.synth.dataset import generate_dataset
from fasttcm.data.synth.options import SynthOptions
from fasttcm.data.synth.scene import Scene, SynthWord, render_scene

__all__ = ["Scene", "SynthOptions", "SynthWord", "WordCrop", "generate_dataset", "render_scene", "render_word_crop"]
