"""Folders of other people's clips: what is found, what is called broken, and what is kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from model.datasets.cache import ClipCache, FrameFit
from model.datasets.cli import app
from model.datasets.errors import BrokenClip, DataError
from model.datasets.footage import FootageReader
from model.datasets.inspection import check_folder, inspect_clip
from model.datasets.layout import DataClip, read_folder
from tests.films import click_track, moving_frames, write_class_folder, write_clip, write_film

STILL = [0] * 60


def clip_of(path: Path) -> DataClip:
    """A file as a clip of some data set."""
    return DataClip(path.name, path, "", "train")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole clip of 2.5 s at 24 fps, 64 x 96."""
    path = tmp_path_factory.mktemp("films") / "whole.mp4"
    write_clip(path)
    return path


def test_split_folders_give_captions_and_splits(tmp_path: Path) -> None:
    """AVSync15's folders: the class in words, clips sorted by name, the stem cut at the first dot."""
    for name in ("train/dog_barking/b_0.0_9.0.mp4", "train/dog_barking/a.mp4", "test/hammering/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    folder = read_folder(tmp_path)

    assert [(clip.name, clip.caption, clip.split) for clip in folder.clips] == [
        ("test/hammering/c.mp4", "hammering", "test"),
        ("train/dog_barking/a.mp4", "dog barking", "train"),
        ("train/dog_barking/b_0.0_9.0.mp4", "dog barking", "train"),
    ]
    assert folder.clips[2].stem == "b_0"


def test_lists_name_the_clips_and_what_is_missing(tmp_path: Path) -> None:
    """Lists of `<class>/<file>` below `videos/`; a listed file that is not there is reported, not skipped."""
    (tmp_path / "videos" / "fire_crackling").mkdir(parents=True)
    (tmp_path / "videos" / "fire_crackling" / "a.mp4").touch()
    (tmp_path / "train.txt").write_text("fire_crackling/a.mp4\nfire_crackling/gone.mp4\n")

    folder = read_folder(tmp_path)

    assert [clip.name for clip in folder.of_split("train")] == ["videos/fire_crackling/a.mp4"]
    assert folder.missing == ("fire_crackling/gone.mp4 (train.txt)",)


def test_greatest_hits_are_flat_and_have_no_caption(tmp_path: Path) -> None:
    """Recordings are listed without their endings; the denoised film counts, with the WAV beside it."""
    (tmp_path / "vis-data").mkdir()
    for name in ("2015-09-12_denoised.mp4", "2015-09-12_denoised.wav", "2015-09-12_mic.mp4", "2015-09-12_mask.mp4"):
        (tmp_path / "vis-data" / name).touch()
    (tmp_path / "train.txt").write_text("2015-09-12\n")

    (clip,) = read_folder(tmp_path).clips

    assert (clip.path.name, clip.caption, clip.split) == ("2015-09-12_denoised.mp4", "", "train")
    assert clip.sound == tmp_path / "vis-data" / "2015-09-12_denoised.wav"


def test_list_may_not_leave_the_folder(tmp_path: Path) -> None:
    """A list that names files elsewhere is refused."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train.txt").write_text("../../secret.mp4\n")

    with pytest.raises(DataError, match=r"outside of the folder"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_folder_without_videos_says_what_is_expected(tmp_path: Path, name: str) -> None:
    """A missing and an empty folder are errors of one line."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match=r"there is no folder|no videos of a known layout"):
        read_folder(tmp_path / name)


def test_whole_clip_is_measured(film: Path) -> None:
    """Rate, frames, size and sound of a whole clip."""
    footage = inspect_clip(clip_of(film))

    assert footage.fps == pytest.approx(24, abs=0.05)
    assert (footage.num_frames, footage.size) == (60, (64, 96))
    assert footage.sound.sample_rate_hz == 16_000
    assert footage.sound.duration_s == pytest.approx(2.5, abs=0.1)


def test_broken_clips_are_told_by_name(tmp_path: Path, film: Path) -> None:
    """Every kind of damage has its own word; nothing of it counts as usable."""
    base = tmp_path / "train" / "dog_barking"
    frames, sound = moving_frames(STILL), click_track(2.5, [1.0])
    base.mkdir(parents=True)
    whole = film.read_bytes()
    (base / "good.mp4").write_bytes(whole)
    (base / "empty.mp4").touch()
    (base / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (base / "text.mp4").write_text("not found")
    (base / "next.mp4.part").write_bytes(whole[:100])
    write_film(base / "silent.mp4", frames)
    write_film(base / "brief.mp4", frames[:20], samples=sound[:13_000])
    write_film(base / "mute-end.mp4", frames, samples=sound[:8_000])
    uneven = np.cumsum([20, 80] * 30).tolist()
    write_film(base / "uneven.mp4", frames, samples=sound, times_ms=uneven)
    (tmp_path / "train" / "frog_croaking").mkdir()

    report = check_folder(read_folder(tmp_path))

    faults = {Path(error.name).name: error.fault for error in report.broken}
    assert faults == {
        "empty.mp4": "empty file",
        "half.mp4": "not a video",
        "text.mp4": "not a video",
        "silent.mp4": "no sound",
        "brief.mp4": "too short",
        "mute-end.mp4": "sound too short",
        "uneven.mp4": "variable frame rate",
    }
    assert [found.clip.path.name for found in report.usable] == ["good.mp4"]
    assert "train/dog_barking/next.mp4.part: an unfinished download" in report.problems
    assert "train/frog_croaking/: an empty folder" in report.problems


def test_damaged_picture_data_is_noticed(tmp_path: Path, film: Path) -> None:
    """Bytes overwritten in the middle of a whole file do not pass as frames."""
    data = bytearray(film.read_bytes())
    start = data.find(b"mdat")
    data[start + 200 : start + 3000] = b"\xff" * 2800
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(data))

    with pytest.raises(BrokenClip, match=r"damaged\.mp4: (damaged|cut short)"):
        inspect_clip(clip_of(path))


def test_check_command_exits_with_one_when_something_is_broken(tmp_path: Path) -> None:
    """The command prints counts by class, and each problem on a line of its own."""
    write_class_folder(tmp_path, per_class=1)
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path)]).exit_code == 0
    (tmp_path / "train" / "hammering" / "cut.mp4").touch()

    result = CliRunner().invoke(app, ["data", "check", str(tmp_path)])

    assert result.exit_code == 1
    assert "2 usable clips" in result.stdout
    assert "train/hammering/cut.mp4: empty file" in result.stderr


def test_cache_keeps_frames_and_sound(tmp_path: Path, film: Path) -> None:
    """What is read back is what was decoded, but for JPEG and 16 bits; the second load decodes nothing."""
    cache = ClipCache(tmp_path, FrameFit(64, 96))
    decoded = list(FootageReader(clip_of(film)).frames())
    clip = cache.load(clip_of(film))

    read = clip.frames([3, 59, 80])

    assert clip.num_frames == 60
    assert np.abs(read[0].astype(int) - decoded[3]).mean() < 3
    assert np.array_equal(read[1], read[2])
    assert clip.sound(100, 500).samples.shape == (1, 500)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    cache.load(clip_of(film))
    assert file.stat().st_mtime_ns == written


def test_damaged_cache_is_decoded_again(tmp_path: Path, film: Path) -> None:
    """A cut file, as a full disk leaves one, is replaced."""
    cache = ClipCache(tmp_path, FrameFit(64, 96))
    cache.load(clip_of(film))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])

    assert cache.load(clip_of(film)).num_frames == 60


@pytest.mark.parametrize(
    ("fit", "shape", "is_black"),
    [("cover", (64, 64), False), ("released", (64, 64), True), ("released", (64, 96), False)],
)
def test_frames_are_fitted_without_stretching(fit: str, shape: tuple[int, int], *, is_black: bool) -> None:
    """`cover` fills the frame; `released` leaves black bars beside a narrow picture."""
    fitted = FrameFit(32, 48, fit).apply(np.full((*shape, 3), 200, np.uint8))

    assert fitted.shape == (32, 48, 3)
    assert (fitted[16, 24] == 200).all()
    assert (fitted[16, 0] == (0 if is_black else 200)).all()
