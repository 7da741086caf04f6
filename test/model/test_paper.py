import numpy as np
import pytest

from dreamif_model import paper
from dreamif_model.cameras import Camera
from dreamif_model.degradations.kinds import check_degradation


def test_every_printed_row_has_a_figure_for_each_column():
    for number in paper.NUMBERS:
        for pairs in paper.SETS:
            table = paper.table(number, pairs)
            assert {len(row) for row in table.rows.values()} == {len(table.columns)}
            assert list(table.rows)[-1].endswith(("Dream-IF", "RD, CE, SE"))


def test_the_last_row_of_table_4_is_that_of_table_1():
    assert paper.TABLE_4["RD, CE, SE"] == paper.TABLE_1["LLVIP"]["Dream-IF"]


@pytest.mark.parametrize(
    ("number", "pairs", "best"),
    [  # what the paper prints in bold
        (1, "LLVIP", {"AG", "SF", "Qabf", "SSIM"}),
        (1, "MSRS", {"AG", "SF", "Qabf", "SSIM"}),
        (1, "M3FD", {"SF", "SSIM"}),
        (2, "MSRS", {"AG", "SF", "Qabf", "SSIM", "VIFF"}),
    ],
)
def test_dream_if_wins_the_columns_that_the_paper_says(number, pairs, best):
    table = paper.table(number, pairs)
    highest = np.max(list(table.rows.values()), axis=0)
    assert {
        column
        for column, own, high in zip(table.columns, table.rows["Dream-IF"], highest, strict=True)
        if own == high
    } == best


def test_random_noise_is_drawn_from_the_ranges_of_the_paper():
    specs = [paper.random_noise(seed) for seed in range(300)]
    assert specs == [paper.random_noise(seed) for seed in range(300)]
    images = [steps for spec in specs for steps in (spec.infrared, spec.visible)]
    assert {len(steps) for steps in images} == {1, 2, 3}
    strengths = {name: [] for name in paper.NOISES}
    for name, strength in (step for steps in images for step in steps):
        check_degradation(name, strength)
        strengths[name].append(strength)
    assert set(strengths["gaussian"]) == {35}
    for name, low, high in (("poisson", 100, 10_000), ("speckle", 2 / 255, 25 / 255)):
        assert low < min(strengths[name]) < 1.1 * low
        assert 0.9 * high < max(strengths[name]) < high
    assert np.median(strengths["poisson"]) == pytest.approx(1000, rel=0.3)


def test_table_3_degrades_both_images_by_one_thing():
    for name, draw in paper.conditions([3]).items():
        spec = draw(4)
        assert [n for n, _ in (*spec.infrared, *spec.visible)] == [name, name]
        image = np.full((32, 40), 120, np.uint8)
        image[8:20, 10:30] = 200
        assert (spec.apply(image, Camera.VISIBLE, spec.generator(1)) != image).any()
    assert list(paper.conditions([1, 2, 4])) == [paper.RANDOM]
