"""Published tensor names of the networks that only judge, as data; see `model.checkpoints.keymap`."""

from __future__ import annotations

from model.checkpoints.keymap import Drop, KeyMap, Rename

_NUM_STAGES = 4

SYNC_CLASSIFIER = KeyMap(
    prefix="",
    renames=(
        Rename(r"^audio_encoder\.", "audio."),
        Rename(r"^video_encoder\.", "video."),
        Rename(r"^(audio|video)\.conv1\.0\.", r"\1.stem.convolution."),
        Rename(r"^(audio|video)\.conv1\.1\.", r"\1.stem.norm."),
        *(Rename(rf"^audio\.block{stage + 1}\.", f"audio.blocks.{stage}.") for stage in range(_NUM_STAGES)),
        *(Rename(rf"^video\.conv{stage + 2}x\.", f"video.stages.{stage}.") for stage in range(_NUM_STAGES)),
        Rename(r"^(audio\.blocks\.\d)\.conv1\.", r"\1.0.convolution."),
        Rename(r"^(audio\.blocks\.\d)\.bn1\.", r"\1.0.norm."),
        Rename(r"^(audio\.blocks\.\d)\.conv2\.", r"\1.1.convolution."),
        Rename(r"^(audio\.blocks\.\d)\.bn2\.", r"\1.1.norm."),
        Rename(r"\.spt_conv1\.", ".spatial_in.convolution."),
        Rename(r"\.spt_bn1\.", ".spatial_in.norm."),
        Rename(r"\.tmp_conv1\.", ".temporal_in.convolution."),
        Rename(r"\.tmp_bn1\.", ".temporal_in.norm."),
        Rename(r"\.spt_conv2\.", ".spatial_out.convolution."),
        Rename(r"\.spt_bn2\.", ".spatial_out.norm."),
        Rename(r"\.tmp_conv2\.", ".temporal_out."),
        Rename(r"\.out_bn\.", ".norm."),
        Rename(r"\.res_conv\.", ".shortcut."),
        # The release counts dropout layers of rate 0.
        Rename(r"^head\.fc\.0\.", "head.0."),
        Rename(r"^head\.fc\.3\.", "head.2."),
        Rename(r"^head\.fc\.6\.", "head.4."),
    ),
)

OPTICAL_FLOW = KeyMap(
    prefix="module.",
    renames=(
        Rename(r"^fnet\.", "features."),
        Rename(r"^cnet\.", "context."),
        Rename(r"^(features|context)\.conv1\.", r"\1.stem."),
        Rename(r"^(features|context)\.norm1\.", r"\1.stem_norm."),
        Rename(r"^(features|context)\.conv2\.", r"\1.output."),
        *(Rename(rf"\.layer{stage + 1}\.", f".stages.{stage}.") for stage in range(_NUM_STAGES - 1)),
        Rename(r"(\.stages\.\d\.\d)\.conv1\.", r"\1.convolution_in."),
        Rename(r"(\.stages\.\d\.\d)\.conv2\.", r"\1.convolution_out."),
        Rename(r"\.norm1\.", ".norm_in."),
        Rename(r"\.norm2\.", ".norm_out."),
        Rename(r"\.norm3\.", ".shortcut_norm."),
        Rename(r"\.downsample\.0\.", ".shortcut."),
        Rename(r"^update_block\.encoder\.convc1\.", "update_block.motion.correlation_in."),
        Rename(r"^update_block\.encoder\.convc2\.", "update_block.motion.correlation_out."),
        Rename(r"^update_block\.encoder\.convf1\.", "update_block.motion.flow_in."),
        Rename(r"^update_block\.encoder\.convf2\.", "update_block.motion.flow_out."),
        Rename(r"^update_block\.encoder\.conv\.", "update_block.motion.output."),
        Rename(r"\.gru\.conv([zrq])1\.", r".horizontal.\1."),
        Rename(r"\.gru\.conv([zrq])2\.", r".vertical.\1."),
        Rename(r"\.z\.", ".update."),
        Rename(r"\.r\.", ".reset."),
        Rename(r"\.q\.", ".candidate."),
        Rename(r"\.flow_head\.conv1\.", ".flow_head.0."),
        Rename(r"\.flow_head\.conv2\.", ".flow_head.2."),
        Rename(r"^update_block\.mask\.", "update_block.mask_head."),
    ),
    drops=(Drop(r".*\.downsample\.1\.", "the shortcut's norm is listed twice; `norm3` is the same tensor"),),
)

_IMAGEBIND_BLOCKS = (
    Rename(r"\.norm_1\.", ".attention_norm."),
    Rename(r"\.norm_2\.", ".feed_forward_norm."),
    Rename(r"\.attn\.in_proj_(weight|bias)$", r".attention.qkv.\1"),
    Rename(r"\.attn\.out_proj\.", ".attention.output."),
    Rename(r"\.mlp\.fc1\.", ".feed_forward.expand."),
    Rename(r"\.mlp\.fc2\.", ".feed_forward.contract."),
)

IMAGEBIND_VISION = KeyMap(
    prefix="",
    renames=(
        Rename(r"^modality_preprocessors\.vision\.cls_token$", "class_token"),
        Rename(r"^modality_preprocessors\.vision\.pos_embedding_helper\.pos_embed$", "positions"),
        Rename(r"^modality_preprocessors\.vision\.rgbt_stem\.proj\.1\.", "patches."),
        Rename(r"^modality_trunks\.vision\.pre_transformer_layer\.0\.", "input_norm."),
        Rename(r"^modality_trunks\.vision\.", ""),
        Rename(r"^modality_heads\.vision\.0\.", "norm."),
        Rename(r"^modality_heads\.vision\.2\.", "projection."),
        *_IMAGEBIND_BLOCKS,
    ),
    drops=(Drop(r"modality_\w+\.(?!vision\.)", "belongs to another sense"),),
)

IMAGEBIND_TEXT = KeyMap(
    prefix="",
    renames=(
        Rename(r"^modality_preprocessors\.text\.pos_embed$", "positions"),
        Rename(r"^modality_preprocessors\.text\.token_embedding\.", "embedding."),
        Rename(r"^modality_trunks\.text\.", ""),
        Rename(r"^modality_heads\.text\.proj\.0\.", "norm."),
        Rename(r"^modality_heads\.text\.proj\.1\.", "projection."),
        Rename(r"^modality_postprocessors\.text\.1\.log_logit_scale$", "log_logit_scale"),
        *_IMAGEBIND_BLOCKS,
    ),
    drops=(
        Drop(r"modality_\w+\.(?!text\.)", "belongs to another sense"),
        Drop(r"modality_preprocessors\.text\.mask$", "the causal mask is computed"),
    ),
)
