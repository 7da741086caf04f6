"""Medical pairs, where they are at hand: infrared is CT or MRI, visible is MRI or PET."""

import cv2
import numpy as np
import pytest
from helpers import ROOT

from dreamif_model import FusionPipeline
from dreamif_model.image_files import read_gray, read_rgb
from dreamif_model.metrics import qabf
from dreamif_model.training.train_config import TrainConfig

FOLDER = ROOT.parent / "shared" / "data" / "medical"
needs_pairs = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs medical pairs in {FOLDER}")


@needs_pairs
def test_the_configuration_holds_whole_patients_out():
    config = TrainConfig.load(ROOT / "config" / "train" / "medical.yaml", FOLDER)
    for data, held_out in zip(config.data, (4, 7), strict=True):
        training, validation = data.split()
        assert (len(training), len(validation)) == (16 - held_out, held_out)
        patients = [{pair.stem[:-3] for pair in pairs} for pairs in (training, validation)]
        assert not patients[0] & patients[1]


@needs_pairs
def test_the_colors_of_pet_stay():
    mri, pet = (FOLDER / "pet_mri" / name / "30064.png" for name in ("ir", "vi"))
    infrared, visible = read_gray(mri), read_rgb(pet)
    fused = FusionPipeline("nano", "cpu").fuse(visible=visible, infrared=infrared).fused
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2HSV) for image in (visible, fused))
    colored = visible.max(axis=-1) - visible.min(axis=-1) > 40
    assert colored.mean() > 0.3
    turned = 2 * (before[..., 0].astype(int) - after[..., 0])[colored]  # hue, degrees
    turned = np.abs((turned + 180) % 360 - 180)
    assert np.median(turned) == 0
    assert np.percentile(turned, 90) <= 10  # where the brighter color would leave the range of RGB


@needs_pairs
@pytest.mark.parametrize(("folder", "held_out"), [("ct_mri", 0), ("pet_mri", 1)])
def test_more_edges_are_kept_than_by_the_maximum(folder, held_out):
    """In the mean over the pairs of the tables of docs/medical.md, which are of luma."""
    config = TrainConfig.load(ROOT / "config" / "train" / "medical.yaml", FOLDER)
    pipeline, kept, brighter = FusionPipeline("nano", "cpu"), [], []
    for pair in config.data[held_out].split()[1]:
        infrared, gray = read_gray(pair.infrared), read_gray(pair.visible)
        fused = pipeline.fuse(visible=gray, infrared=infrared).fused
        kept.append(qabf(cv2.cvtColor(fused, cv2.COLOR_RGB2GRAY), infrared, gray))
        brighter.append(qabf(np.maximum(infrared, gray), infrared, gray))
    assert np.mean(kept) > np.mean(brighter) > 0.5, folder
