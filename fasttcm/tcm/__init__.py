"""TCM and FastTCM: prompts, instance-language matching, its loss, and CLIP's ResNet turned into a text backbone."""

from fasttcm.tcm.backbone import TCMBackbone
from fasttcm.tcm.backbones import BACKBONES, build_backbone
from fasttcm.tcm.decoder import PromptDecoder
from fasttcm.tcm.keys import backbone_key, convert_published, matching_key, spotter_key
from fasttcm.tcm.loss import MatchingLoss, matching_target, pad_to, upsample_logits
from fasttcm.tcm.matching import InstanceLanguageMatching, MatchingOutput, build_matching
from fasttcm.tcm.prompts import PromptedTextEncoder, PromptGenerator, PromptKind
from fasttcm.tcm.published import matching_options, spotter_options
from fasttcm.tcm.spotter import SpotterMatchedBackbone, SpotterMatching, build_spotter_matched
from fasttcm.tcm.text import ClassText, ImageConditionedText, StaticText, build_text, similarity_gate

__all__ = [
    "BACKBONES",
    "ClassText",
    "ImageConditionedText",
    "InstanceLanguageMatching",
    "MatchingLoss",
    "MatchingOutput",
    "PromptDecoder",
    "PromptGenerator",
    "PromptKind",
    "PromptedTextEncoder",
    "SpotterMatchedBackbone",
    "SpotterMatching",
    "StaticText",
    "TCMBackbone",
    "backbone_key",
    "build_backbone",
    "build_matching",
    "build_spotter_matched",
    "build_text",
    "convert_published",
    "matching_key",
    "matching_options",
    "matching_target",
    "pad_to",
    "similarity_gate",
    "spotter_key",
    "spotter_options",
    "upsample_logits",
]
