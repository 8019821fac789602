"""Published tensor names to ours, as data: the only place where published names live.

A `KeyMap` describes one component. Names are relative to the component's prefix in the published file; each goes
through `renames` in order. A few tensors change on the way: attention's stacked projections are cut in parts, and 1x1
convolutions that are linear layers here lose their trailing axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rename:
    """Replace every match of the regular expression `pattern`."""

    pattern: str
    replacement: str

    def apply(self, name: str) -> str:
        """The name after this rule."""
        return re.sub(self.pattern, self.replacement, name)


@dataclass(frozen=True, slots=True)
class Split:
    """Cut tensors whose renamed name matches `pattern` along their first axis, one equal part per replacement."""

    pattern: str
    replacements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Drop `axes` trailing axes of size 1 from tensors whose published name matches `pattern`."""

    pattern: str
    axes: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Leave out tensors whose published name begins like `pattern`, for `reason`."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a published tensor goes.

    Args:
        names: our names; more than one cuts the tensor along its first axis in that many equal parts.
        squeezed_axes: trailing axes of size 1 to drop.
    """

    names: tuple[str, ...]
    squeezed_axes: int = 0


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Rules of one component.

    Args:
        prefix: what published names of the component begin with.
    """

    prefix: str
    renames: tuple[Rename, ...]
    splits: tuple[Split, ...] = ()
    squeezes: tuple[Squeeze, ...] = ()
    drops: tuple[Drop, ...] = ()

    def target(self, name: str) -> Target | None:
        """Where the published tensor `name` (without the prefix) goes; None when it is left out."""
        if any(re.match(drop.pattern, name) for drop in self.drops):
            return None
        axes = next((squeeze.axes for squeeze in self.squeezes if re.search(squeeze.pattern, name)), 0)
        renamed = name
        for rename in self.renames:
            renamed = rename.apply(renamed)
        for split in self.splits:
            if re.search(split.pattern, renamed):
                return Target(tuple(re.sub(split.pattern, part, renamed) for part in split.replacements), axes)
        return Target((renamed,), axes)


_UNET_EMBEDDINGS = (
    Rename(r"^time_embed\.", "time_embedding."),
    Rename(r"^frame_idx_embedding\.", "frame_index_embedding."),
    Rename(r"^(time|fps|frame_index)_embedding\.0\.", r"\1_embedding.expand."),
    Rename(r"^(time|fps|frame_index)_embedding\.2\.", r"\1_embedding.contract."),
    Rename(r"^audio_proj_2\.", "audio_projection."),
)
_UNET_PLACES = (
    Rename(r"^init_attn\.0\.", "encoder.0.temporal."),
    Rename(r"^input_blocks\.0\.0\.", "encoder.0.convolution."),
    Rename(r"^input_blocks\.(\d+)\.0\.op\.", r"encoder.\1.convolution."),
    Rename(r"^output_blocks\.(\d+)\.\d\.conv\.", r"decoder.\1.upsample.convolution."),
    Rename(r"^input_blocks\.", "encoder."),
    Rename(r"^output_blocks\.", "decoder."),
    Rename(r"^(encoder|decoder)\.(\d+)\.0\.", r"\1.\2.residual."),
    Rename(r"^(encoder|decoder)\.(\d+)\.1\.", r"\1.\2.spatial."),
    Rename(r"^(encoder|decoder)\.(\d+)\.2\.", r"\1.\2.temporal."),
    Rename(r"^middle_block\.0\.", "middle.residual_in."),
    Rename(r"^middle_block\.1\.", "middle.spatial."),
    Rename(r"^middle_block\.2\.", "middle.temporal."),
    Rename(r"^middle_block\.3\.", "middle.residual_out."),
    Rename(r"^out\.0\.", "output_norm."),
    Rename(r"^out\.2\.", "output_convolution."),
)
_UNET_RESIDUAL = (
    Rename(r"\.in_layers\.0\.", ".norm_in."),
    Rename(r"\.in_layers\.2\.", ".convolution_in."),
    Rename(r"\.emb_layers\.1\.", ".embedding."),
    Rename(r"\.out_layers\.0\.", ".norm_out."),
    Rename(r"\.out_layers\.3\.", ".convolution_out."),
    Rename(r"\.skip_connection\.", ".skip."),
    # The misspelling is the release's. Its first stage has no dropout, hence another index for the convolution.
    Rename(r"\.temopral_conv\.conv1\.", ".temporal.stages.0."),
    Rename(r"\.temopral_conv\.conv2\.", ".temporal.stages.1."),
    Rename(r"\.temopral_conv\.conv3\.", ".temporal.stages.2."),
    Rename(r"\.temopral_conv\.conv4\.", ".temporal.stages.3."),
    Rename(r"\.stages\.(\d)\.0\.", r".stages.\1.norm."),
    Rename(r"\.stages\.(\d)\.[23]\.", r".stages.\1.convolution."),
)
_UNET_TRANSFORMERS = (
    Rename(r"\.proj_in\.", ".input."),
    Rename(r"\.proj_out\.", ".output."),
    Rename(r"\.transformer_blocks\.0\.", ".layer."),
    Rename(r"\.spatial\.layer\.norm1\.", ".spatial.layer.attention_norm."),
    Rename(r"\.spatial\.layer\.norm2\.", ".spatial.layer.cross_attention_norm."),
    Rename(r"\.spatial\.layer\.attn1\.", ".spatial.layer.attention."),
    Rename(r"\.spatial\.layer\.attn2\.", ".spatial.layer.cross_attention."),
    Rename(r"\.temporal\.layer\.norm1\.", ".temporal.layer.first_attention_norm."),
    Rename(r"\.temporal\.layer\.norm2\.", ".temporal.layer.second_attention_norm."),
    Rename(r"\.temporal\.layer\.attn1\.", ".temporal.layer.first_attention."),
    Rename(r"\.temporal\.layer\.attn2\.", ".temporal.layer.second_attention."),
    Rename(r"\.layer\.norm3\.", ".layer.feed_forward_norm."),
    Rename(r"\.ff\.net\.0\.proj\.", ".feed_forward.expand."),
    Rename(r"\.ff\.net\.2\.", ".feed_forward.contract."),
    Rename(r"\.cross_attention\.to_k\.", ".cross_attention.text_key."),
    Rename(r"\.cross_attention\.to_v\.", ".cross_attention.text_value."),
    Rename(r"\.to_k_ip\.", ".image_key."),
    Rename(r"\.to_v_ip\.", ".image_value."),
    Rename(r"\.to_k_ap\.", ".audio_key."),
    Rename(r"\.to_v_ap\.", ".audio_value."),
    Rename(r"\.beta$", ".audio_gate"),
    Rename(r"\.to_q\.", ".query."),
    Rename(r"\.to_k\.", ".key."),
    Rename(r"\.to_v\.", ".value."),
    Rename(r"\.to_out\.0\.", ".output."),
)

UNET = KeyMap(
    prefix="model.diffusion_model.",
    renames=(*_UNET_EMBEDDINGS, *_UNET_PLACES, *_UNET_RESIDUAL, *_UNET_TRANSFORMERS),
    squeezes=(
        Squeeze(r"\.temopral_conv\.conv\d\.[23]\.weight$", 1),
        Squeeze(r"^init_attn\.0\.proj_(in|out)\.weight$", 1),
    ),
)

RESAMPLER = KeyMap(
    prefix="image_proj_model.",
    renames=(
        Rename(r"^latents$", "queries"),
        Rename(r"^proj_in\.", "input."),
        Rename(r"^proj_out\.", "output."),
        Rename(r"^norm_out\.", "output_norm."),
        Rename(r"^layers\.(\d+)\.0\.norm1\.", r"layers.\1.attention.token_norm."),
        Rename(r"^layers\.(\d+)\.0\.norm2\.", r"layers.\1.attention.query_norm."),
        Rename(r"^layers\.(\d+)\.0\.to_q\.", r"layers.\1.attention.query."),
        Rename(r"^layers\.(\d+)\.0\.to_kv\.", r"layers.\1.attention.key_value."),
        Rename(r"^layers\.(\d+)\.0\.to_out\.", r"layers.\1.attention.output."),
        Rename(r"^layers\.(\d+)\.1\.0\.", r"layers.\1.feed_forward.norm."),
        Rename(r"^layers\.(\d+)\.1\.1\.", r"layers.\1.feed_forward.expand."),
        Rename(r"^layers\.(\d+)\.1\.3\.", r"layers.\1.feed_forward.contract."),
    ),
)

_IMAGEBIND_RENAMES = (
    Rename(r"modality_preprocessors\.audio\.cls_token$", "class_token"),
    Rename(r"modality_preprocessors\.audio\.pos_embedding_helper\.pos_embed$", "positions"),
    Rename(r"modality_preprocessors\.audio\.rgbt_stem\.proj\.", "patches."),
    Rename(r"modality_preprocessors\.audio\.rgbt_stem\.norm_layer\.", "patch_norm."),
    Rename(r"modality_trunks\.audio\.", ""),
    Rename(r"\.norm_1\.", ".attention_norm."),
    Rename(r"\.norm_2\.", ".feed_forward_norm."),
    Rename(r"\.attn\.in_proj_(weight|bias)$", r".attention.qkv.\1"),
    Rename(r"\.attn\.bias_k$", ".attention.extra_key"),
    Rename(r"\.attn\.bias_v$", ".attention.extra_value"),
    Rename(r"\.attn\.out_proj\.", ".attention.output."),
    Rename(r"\.mlp\.fc1\.", ".feed_forward.expand."),
    Rename(r"\.mlp\.fc2\.", ".feed_forward.contract."),
)
_OTHER_SENSES = Drop(
    r"modality_(preprocessors|trunks|heads|postprocessors)\.(vision|text|depth|thermal|imu)\.",
    "only ImageBind's audio branch conditions the generation",
)

AUDIO_TRUNK = KeyMap(
    prefix="imagebind_model.",
    renames=_IMAGEBIND_RENAMES,
    drops=(
        _OTHER_SENSES,
        Drop(r"modality_(heads|postprocessors)\.audio\.", "generation reads tokens, not ImageBind's embedding"),
    ),
)

AUDIO_HEAD = KeyMap(
    prefix="imagebind_model.",
    renames=(
        Rename(r"^modality_heads\.audio\.0\.", "norm."),
        Rename(r"^modality_heads\.audio\.2\.", "projection."),
        Rename(r"^modality_postprocessors\.audio\.1\.log_logit_scale$", "log_logit_scale"),
    ),
    drops=(
        _OTHER_SENSES,
        Drop(r"modality_(preprocessors|trunks)\.audio\.", "belongs to the trunk"),
    ),
)


def _localizer(head: tuple[Rename, ...]) -> KeyMap:
    return KeyMap(
        prefix="",
        renames=(
            *head,
            # The misspelling is the release's.
            Rename(r"^imagebindMoodel\.", "trunk."),
            *_IMAGEBIND_RENAMES,
        ),
        drops=(
            Drop(r"ada_(weight|bias)$", "the published forward pass never reads it"),
            Drop(f"imagebindMoodel\\.{_OTHER_SENSES.pattern}", _OTHER_SENSES.reason),
            Drop(r"imagebindMoodel\.modality_(heads|postprocessors)\.audio\.", "the localizer reads tokens"),
        ),
    )


LOCALIZER = _localizer(
    (
        Rename(r"^linear1\.", "head.steps."),
        Rename(r"^linear2\.", "head.features."),
        Rename(r"^linear3\.", "head.curve."),
    )
)

LOCALIZER_PER_STEP = _localizer(
    (
        Rename(r"^linear1\.", "head.features."),
        Rename(r"^linear2\.", "head.mixing."),
        Rename(r"^linear3\.", "head.score."),
    )
)

_CLIP_RENAMES = (
    Rename(r"^transformer\.resblocks\.", "network.encoder.layers."),
    Rename(r"\.ln_1\.", ".layer_norm1."),
    Rename(r"\.ln_2\.", ".layer_norm2."),
    Rename(r"\.mlp\.c_fc\.", ".mlp.fc1."),
    Rename(r"\.mlp\.c_proj\.", ".mlp.fc2."),
    Rename(r"\.attn\.", ".self_attn."),
)
_CLIP_SPLITS = (
    Split(
        r"\.self_attn\.in_proj_(weight|bias)$",
        (r".self_attn.q_proj.\1", r".self_attn.k_proj.\1", r".self_attn.v_proj.\1"),
    ),
)

CLIP_TEXT = KeyMap(
    prefix="cond_stage_model.",
    renames=(
        Rename(r"^model\.", ""),
        Rename(r"^token_embedding\.", "network.embeddings.token_embedding."),
        Rename(r"^positional_embedding$", "network.embeddings.position_embedding.weight"),
        Rename(r"^ln_final\.", "network.final_layer_norm."),
        *_CLIP_RENAMES,
    ),
    splits=_CLIP_SPLITS,
    drops=(
        Drop(r"model\.transformer\.resblocks\.23\.", "prompts are read before the last layer"),
        Drop(r"model\.(text_projection|logit_scale)$", "prompts are read as tokens, not as one embedding"),
    ),
)

CLIP_IMAGE = KeyMap(
    prefix="embedder.",
    renames=(
        Rename(r"^model\.visual\.", ""),
        Rename(r"^class_embedding$", "network.embeddings.class_embedding"),
        Rename(r"^positional_embedding$", "network.embeddings.position_embedding.weight"),
        Rename(r"^conv1\.", "network.embeddings.patch_embedding."),
        # The misspelling is transformers'.
        Rename(r"^ln_pre\.", "network.pre_layrnorm."),
        Rename(r"^ln_post\.", "network.post_layernorm."),
        *_CLIP_RENAMES,
    ),
    splits=_CLIP_SPLITS,
    drops=(
        Drop(r"model\.(?!visual\.)", "left over from the text tower"),
        Drop(r"model\.visual\.proj$", "pictures are read as tokens, not as one embedding"),
    ),
)

VAE = KeyMap(
    prefix="first_stage_model.",
    renames=(
        Rename(r"^encoder\.down\.(\d)\.block\.", r"encoder.down_blocks.\1.resnets."),
        Rename(r"^encoder\.down\.(\d)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
        # The release counts up-sampling levels from the finest, diffusers in the order they run.
        Rename(r"^decoder\.up\.3\.", "decoder.up_blocks.0."),
        Rename(r"^decoder\.up\.2\.", "decoder.up_blocks.1."),
        Rename(r"^decoder\.up\.1\.", "decoder.up_blocks.2."),
        Rename(r"^decoder\.up\.0\.", "decoder.up_blocks.3."),
        Rename(r"^decoder\.up_blocks\.(\d)\.block\.", r"decoder.up_blocks.\1.resnets."),
        Rename(r"^decoder\.up_blocks\.(\d)\.upsample\.", r"decoder.up_blocks.\1.upsamplers.0."),
        Rename(r"\.nin_shortcut\.", ".conv_shortcut."),
        Rename(r"\.mid\.block_1\.", ".mid_block.resnets.0."),
        Rename(r"\.mid\.block_2\.", ".mid_block.resnets.1."),
        Rename(r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
        Rename(r"\.attentions\.0\.norm\.", ".attentions.0.group_norm."),
        Rename(r"\.attentions\.0\.([qkv])\.", r".attentions.0.to_\1."),
        Rename(r"\.attentions\.0\.proj_out\.", ".attentions.0.to_out.0."),
        Rename(r"\.norm_out\.", ".conv_norm_out."),
        Rename(r"^", "autoencoder."),
    ),
    squeezes=(Squeeze(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$", 2),),
)

# Stable Diffusion's autoencoder as diffusers saves it. Attention had other names before diffusers 0.15.
DIFFUSERS_VAE = KeyMap(
    prefix="",
    renames=(
        Rename(r"\.attentions\.0\.query\.", ".attentions.0.to_q."),
        Rename(r"\.attentions\.0\.key\.", ".attentions.0.to_k."),
        Rename(r"\.attentions\.0\.value\.", ".attentions.0.to_v."),
        Rename(r"\.attentions\.0\.proj_attn\.", ".attentions.0.to_out.0."),
        Rename(r"^", "autoencoder."),
    ),
)

# Parts of the two published diffusion checkpoints that no component reads.
UNUSED = (
    Drop(r"audio_proj_model\.", "never executed by the release"),
    Drop(
        r"(betas|alphas_cumprod|alphas_cumprod_prev|sqrt_|log_one_minus|posterior_|scale_arr)",
        "the schedule is computed, not loaded",
    ),
)
