"""Cases of the networks that only judge: sync classifier, optical flow, ImageBind's vision and text towers."""

from __future__ import annotations

import re

import torch

from model.checkpoints import keymap_evaluation
from model.evaluation.metrics.motion_score import motion_score, pad_for_flow
from model.evaluation.networks.imagebind import TextTower, TextTowerConfig, VisionTower, VisionTowerConfig
from model.evaluation.networks.optical_flow import FlowConfig, FlowNetwork
from model.evaluation.networks.sync_classifier import SyncClassifier, SyncClassifierConfig
from model.evaluation.parity.case import Case, Comparison, absolute, exact
from model.evaluation.parity.fill import fill_as_published, seeded_normal

_TOLERANCE = 1e-4
_FLOW_TOLERANCE = 1e-3
_MEL_SHAPE = (1, 128, 204)
_SIDES_PX = {"small": 64, "real": 224}
_NUM_FRAMES = 12
_TINY_DEPTH = 2
_TINY_HEADS = 4
_TINY_TEXT_DIM = 32
_STORED_CELLS = 4


def check_classifier(case: Case) -> list[Comparison]:
    """Embeddings and scores of random sounds and frames, whose sizes follow from the name (`small48`: 48 frames)."""
    classifier = SyncClassifier(SyncClassifierConfig())
    fill_as_published(classifier, keymap_evaluation.SYNC_CLASSIFIER, checkpoint="avsync_classifier")
    comparisons = []
    for name in case.groups("seeds_video_audio"):
        match = re.fullmatch(r"(small|real)(\d*)", name)
        if match is None:
            raise ValueError(f"{name} does not say how large its frames are")
        side, num_frames = _SIDES_PX[match[1]], int(match[2] or _NUM_FRAMES)
        video_seed, audio_seed = case[f"{name}.seeds_video_audio"].tolist()
        batch = len(case[f"{name}.score"])
        audio = classifier.audio(seeded_normal(audio_seed, batch, *_MEL_SHAPE))
        video = classifier.video(seeded_normal(video_seed, batch, 3, num_frames, side, side))
        computed = {"audio_embedding": audio, "video_embedding": video, "score": classifier.compare(audio, video)}
        comparisons += [
            absolute(f"{name}.{what}", value, case[f"{name}.{what}"], tolerance=_TOLERANCE)
            for what, value in computed.items()
            if f"{name}.{what}" in case
        ]
    return comparisons


def check_optical_flow(case: Case) -> list[Comparison]:
    """Features, flows and motion scores of two pictures after each stored number of refinements."""
    network = FlowNetwork(FlowConfig())
    fill_as_published(network, keymap_evaluation.OPTICAL_FLOW, checkpoint="raft")
    first, second = (pad_for_flow(case[name][None].float()) for name in ("image1", "image2"))
    cells = slice(None, None, _STORED_CELLS)
    features = network.encode(first)[..., cells, cells]
    stored = case["fnet_image1_every4"]
    comparisons = [absolute("fnet_image1_every4", features, stored, tolerance=_FLOW_TOLERANCE)]
    for name in case.groups("flow_low"):
        flow = network(first, second, num_iterations=int(name.removeprefix("iters")))
        computed = {
            "flow_low": flow.coarse,
            "flow_up_every4": flow.full[..., cells, cells],
            "score_fullres": motion_score(flow.full),
            "score_lowres": motion_score(flow.coarse),
        }
        comparisons += [
            absolute(f"{name}.{what}", value, case[f"{name}.{what}"], tolerance=_FLOW_TOLERANCE)
            for what, value in computed.items()
        ]
    return comparisons


def check_imagebind_vision_text(case: Case) -> list[Comparison]:
    """Embeddings of random pictures and of sentences, and their cosines."""
    seen, read = case["tiny.vision_embedding"], case["tiny.text_embedding_scaled"]
    inputs = case[case.names("tiny.vision_trunk_in_first")[0]]
    width = seen.shape[1]
    vision = VisionTower(VisionTowerConfig(inputs.shape[2], _TINY_DEPTH, _TINY_HEADS, embedding_dim=width))
    text = TextTower(TextTowerConfig(_TINY_TEXT_DIM, _TINY_DEPTH, _TINY_HEADS, embedding_dim=width))
    fill_as_published(vision, keymap_evaluation.IMAGEBIND_VISION, checkpoint="imagebind")
    fill_as_published(text, keymap_evaluation.IMAGEBIND_TEXT, checkpoint="imagebind")
    side = vision.config.input_px
    images = seeded_normal(int(case["image_seed"]), len(seen), 3, side, side)
    pictures, sentences = vision(images), text(case["tokens"][: len(read)])
    computed = {
        "tiny.vision_embedding": pictures,
        "tiny.text_embedding_scaled": sentences,
        "tiny.text_scale": text.scale[None],
        "tiny.cosine": pictures @ (sentences / text.scale).T,
        case.names("tiny.vision_trunk_in_first")[0]: vision.embed(images[:1])[:, : inputs.shape[1]],
    }
    # Every sentence has one end token, where the tower reads it.
    ends = (case["tokens"] == case["tokens"].max()).sum(dim=1)
    return [
        exact("tokens, end", ends, torch.ones_like(ends)),
        *(absolute(name, value, case[name], tolerance=_TOLERANCE) for name, value in computed.items()),
    ]
