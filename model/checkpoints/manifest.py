"""Which published files keyvid-512 can be made from, as data: where they are, whose they are, what is in them.

Hashes are given where they are known for sure; elsewhere the hub's own are checked, and remembered beside the files.
"""

from __future__ import annotations

from dataclasses import dataclass

_HEX_DIGITS_OF_SHA256 = 64


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of an artifact.

    Args:
        paths: where it may be in its repository; the first that exists is taken.
        sha256: in hexadecimal; None when it is not known.
    """

    paths: tuple[str, ...]
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and len(self.sha256) != _HEX_DIGITS_OF_SHA256:
            raise ValueError(f"{self.sha256} is not a SHA-256")


@dataclass(frozen=True, slots=True)
class Artifact:
    """Files that are published together.

    Args:
        name: what commands call it.
        holds: what a conversion takes from it.
        licence: of the weights.
        about_gb: how much it is, in 10^9 bytes, roughly.
        repo: repository on the hub; None when it is not there.
        source: where else it comes from; shown when it cannot be pulled.
        is_needed: whether keyvid-512 cannot be made without it.
    """

    name: str
    holds: str
    licence: str
    about_gb: float
    files: tuple[PublishedFile, ...]
    repo: str | None = None
    revision: str = "main"
    source: str = ""
    is_needed: bool = False


ARTIFACTS = (
    Artifact(
        name="keyvid-keyframes",
        holds="keyframe UNet, its resampler, and every encoder",
        licence="as stated by its repository",
        about_gb=15.5,
        # The release's own pages disagree about names.
        files=(
            PublishedFile(
                (
                    "keyframe_generation/generator_checkpoint.ckpt",
                    "keyframe_generation/epoch=859-step=10320.ckpt",
                )
            ),
        ),
        repo="RyanWW/KeyVID",
        is_needed=True,
    ),
    Artifact(
        name="keyvid-interpolation",
        holds="interpolation UNet, its resampler, and every encoder",
        licence="as stated by its repository",
        about_gb=15.5,
        files=(
            PublishedFile(
                (
                    "interpolation/epoch=3669-step=58720.ckpt",
                    "asva_12_kf_interp/epoch=1479-step=17760.ckpt",
                )
            ),
        ),
        repo="RyanWW/KeyVID",
        is_needed=True,
    ),
    Artifact(
        name="clip-vocabulary",
        holds="the vocabulary of prompts",
        licence="MIT",
        about_gb=0.001,
        files=(PublishedFile(("vocab.json",)), PublishedFile(("merges.txt",))),
        repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        is_needed=True,
    ),
    Artifact(
        name="keyvid-localizer",
        holds="the localizer; without it keyframes must be given",
        licence="not published",
        about_gb=4.8,
        files=(PublishedFile(("best_model_version1_with_skip.pth",)),),
        source="its authors; it is not published",
    ),
    Artifact(
        name="dynamicrafter",
        holds="autoencoder and both CLIP towers, if KeyVID's files lack them",
        licence="as stated by its repository",
        about_gb=10.4,
        files=(PublishedFile(("model.ckpt",)),),
        repo="Doubiiu/DynamiCrafter_512",
    ),
    Artifact(
        name="openclip",
        holds="both CLIP towers, if KeyVID's files lack them",
        licence="MIT",
        about_gb=3.9,
        files=(PublishedFile(("open_clip_pytorch_model.bin",)),),
        repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    ),
    Artifact(
        name="imagebind",
        holds="audio encoder, if KeyVID's files lack it",
        licence="CC BY-NC 4.0, not for commerce",
        about_gb=4.8,
        files=(PublishedFile(("imagebind_huge.pth",)),),
        source="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
    ),
)


def artifact(name: str) -> Artifact | None:
    """The artifact that commands call `name`."""
    return next((found for found in ARTIFACTS if found.name == name), None)
