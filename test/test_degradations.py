import pytest
import torch

from dreamif_model.degradations import DEGRADATIONS, degrade, degrade_randomly
from dreamif_model.errors import ConfigError

SIZE = (256, 256)


def flat(value):
    return torch.full(SIZE, float(value))


def test_gaussian_has_the_strength_asked_for(generator):
    noisy = degrade(flat(0.5), "gaussian", 20.0, generator)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.001)
    assert noisy.std().item() * 255 == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("value", [0.1, 0.4])
def test_poisson_variance_is_the_mean_over_the_peak(value, generator):
    noisy = degrade(flat(value), "poisson", 60.0, generator)
    assert noisy.mean().item() == pytest.approx(value, rel=0.01)
    assert noisy.var().item() == pytest.approx(value / 60, rel=0.04)
    counts = noisy * 60
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5])
def test_speckle_is_proportional_to_the_image(value, generator):
    noisy = degrade(flat(value), "speckle", 0.2, generator)
    assert noisy.mean().item() == pytest.approx(value, abs=0.002)
    assert noisy.std().item() == pytest.approx(0.2 * value, rel=0.02)


@pytest.mark.parametrize(("name", "strength"), [("gaussian", 200), ("poisson", 2), ("speckle", 5)])
def test_clamped(name, strength, generator):
    noisy = degrade(flat(0.9), name, strength, generator)
    assert noisy.min() == 0
    assert noisy.max() == 1


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_seeded(name):
    def once(seed):
        generator = torch.Generator().manual_seed(seed)
        return degrade(flat(0.5), name, DEGRADATIONS[name][1][0], generator)

    before = torch.random.get_rng_state()
    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is untouched


def test_unknown_name(generator):
    with pytest.raises(ConfigError, match=r"unknown degradation 'blur'.*gaussian, poisson"):
        degrade(flat(0.5), "blur", 1.0, generator)


def test_probability_0_and_1(generator):
    image = flat(0.5)
    assert all(degrade_randomly(image, 0.0, generator) is image for _ in range(20))
    assert not any(torch.equal(degrade_randomly(image, 1.0, generator), image) for _ in range(20))


def test_every_kind_and_its_whole_range_is_drawn(generator, monkeypatch):
    drawn = {name: [] for name in DEGRADATIONS}
    for name, (_, limits) in list(DEGRADATIONS.items()):

        def record(image, strength, _, name=name):
            drawn[name].append(strength)
            return image

        monkeypatch.setitem(DEGRADATIONS, name, (record, limits))
    for _ in range(600):
        degrade_randomly(flat(0.5), 0.5, generator)
    assert sum(map(len, drawn.values())) == pytest.approx(300, abs=50)
    for name, (_, (low, high)) in DEGRADATIONS.items():
        assert len(drawn[name]) == pytest.approx(100, abs=35)
        assert low <= min(drawn[name]) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(drawn[name]) <= high
