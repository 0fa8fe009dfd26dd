"""CLIP's towers: ResNet trunk, dense attention pool, text tower, tokenizer, and the reader of RN50.pt."""

from fasttcm.clip.attention_pool import DenseAttentionPool
from fasttcm.clip.loading import RANDOM, RN50_SHA256, RN50_URL, ClipTowers, load_clip, towers_from_state_dict
from fasttcm.clip.preprocess import preprocess
from fasttcm.clip.sizes import ClipSizes
from fasttcm.clip.text import TextTower
from fasttcm.clip.tokenizer import END_ID, PAD_ID, START_ID, VOCABULARY_SIZE, fold_vocabulary, tokenize
from fasttcm.clip.trunk import ClipResNet

__all__ = [
    "END_ID",
    "PAD_ID",
    "RANDOM",
    "RN50_SHA256",
    "RN50_URL",
    "START_ID",
    "VOCABULARY_SIZE",
    "ClipResNet",
    "ClipSizes",
    "ClipTowers",
    "DenseAttentionPool",
    "TextTower",
    "fold_vocabulary",
    "load_clip",
    "preprocess",
    "tokenize",
    "towers_from_state_dict",
]
