"""Bands: the answers are those for the whole scene, whatever its shape, and nobody is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import untrained_run

from pointseg.config import DataConfig
from pointseg.data.tiling import Votes, covering_chunks
from pointseg.evaluation.inference import answers, views
from pointseg.prediction.bands import _Order, label_in_bands
from pointseg.prediction.segmenter import Segmenter, load_run
from pointseg.prediction.smoothing import smooth


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_run(untrained_run(tmp_path_factory.mktemp("run") / "run").path, device="cpu")


def _arguments(segmenter: Segmenter, passes: int) -> dict:
    return {
        "outputs": 20,
        "passes": passes,
        "batch_size": 4,
        "seed": [0],
        "device": torch.device("cpu"),
        "name": "room",
    }


def _room(size: tuple[float, float], points: int = 6000) -> np.ndarray:
    low = np.array([10.0, -7.0, 0.0])
    return (low + np.random.default_rng(0).uniform(0, [*size, 2.5], (points, 3))).astype(np.float32)


@pytest.mark.parametrize("size", [(7.3, 3.2), (1.0, 5.0), (40.0, 1.7)])
def test_one_pass_sees_the_chunks_of_evaluation(segmenter: Segmenter, size: tuple[float, float]):
    xyz, data = _room(size), segmenter.config.data
    expected = Votes(len(xyz), outputs=20)
    chunks = covering_chunks(xyz, data, np.random.default_rng([0, 0]))
    device = torch.device("cpu")
    for answer in answers(segmenter.model, views(chunks, xyz, None, "room"), data, batch_size=4, device=device):
        expected.add(answer.chunk, answer.probability)
    best, probability = label_in_bands(segmenter.model, xyz, None, data, top_k=1, **_arguments(segmenter, 1))
    np.testing.assert_allclose(probability[:, 0], expected.probability(), atol=1e-5)
    assert np.mean(best[:, 0] == expected.label()) > 0.999  # batches differ, and with them the last bits


class _Network(torch.nn.Module):
    """Answers with a point's height and where in the world it is, so that a point put in another's place is noticed."""

    def forward(self, xyz: torch.Tensor, features: None) -> torch.Tensor:
        return torch.cat([xyz[..., 2:], xyz[..., :2].norm(dim=-1, keepdim=True), xyz[..., :1] * 0], dim=-1)


@pytest.mark.parametrize("passes", [1, 3])
def test_every_point_gets_its_own_answer(segmenter: Segmenter, passes: int):
    xyz = np.append(_room((7.3, 5.1)), np.float32([[300, 5, 1], [10, -7, 2]]), axis=0)
    told: list[int] = []
    best, probability = label_in_bands(
        _Network(), xyz, None, DataConfig(num_points=256), top_k=3, on_points=told.append,
        **(_arguments(segmenter, passes) | {"outputs": 3}),
    )  # fmt: skip
    logits = np.stack([xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]), 0 * xyz[:, 0]], axis=1).astype(np.float64)
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.take_along_axis(softmax, best.astype(int), axis=1), probability, atol=1e-4)
    assert (np.sort(best, axis=1) == np.arange(3)).all()
    assert sum(told) == len(xyz)


def test_votes_are_kept_for_a_band_at_a_time(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []

    class Watched(Votes):
        def __init__(self, points: int, outputs: int) -> None:
            super().__init__(points, outputs)
            sizes.append(points)

    monkeypatch.setattr("pointseg.prediction.bands.Votes", Watched)
    xyz = _room((40.0, 1.7))
    segmenter.label(xyz, None, votes=2)
    assert max(sizes) < 0.15 * len(xyz)  # 40 m, of which two columns are open at a time
    assert sizes[-1] == 0


def test_passes_are_seen_from_other_angles(segmenter: Segmenter):
    xyz = _room((4.0, 3.0))
    one, three, again = (segmenter.label(xyz, None, votes=votes)[1] for votes in (1, 3, 3))
    assert (one != three).mean() > 0.9
    np.testing.assert_array_equal(three, again)


def test_points_in_order_of_x():
    x = np.random.default_rng(0).uniform(-300, 5000, 10_000).astype(np.float32)
    order = _Order(x)
    for low, high in ((-300.0, 5000.0), (0.0, 1.5), (77.7, 78.1), (4999.0, 6000.0), (-999.0, -400.0)):
        index, place = order.between(low, high)
        np.testing.assert_array_equal(index, ((x >= low) & (x <= high)).nonzero()[0])
        np.testing.assert_array_equal(order.index[place], index)
        assert (x[order.index[: order.first(low)]] < low).all()


def test_smoothing_by_hand():
    xyz = np.array([[0, 0, 0], [0.01, 0, 0], [0.02, 0, 0], [0.03, 0, 0], [5, 0, 0], [9, 0, 0]], np.float32)
    train_id = np.array([3, 3, 7, 3, 7, 255], np.uint8)
    new, probability = smooth(xyz, train_id, np.float32([0.5, 0.5, 0.9, 0.5, 0.4, 0]), 0.015)
    # The third sees 3 (0.5), 7 (0.9), 3 (0.5); the fourth 7 (0.9) and itself; those alone stay what they are.
    assert new.tolist() == [3, 3, 3, 7, 7, 255]
    np.testing.assert_allclose(probability, [1 / 2, 1 / 3, 1 / 3, 0.9 / 2, 0.4, 0], rtol=1e-6)


def test_smoothing_in_slabs_is_smoothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    xyz = rng.uniform(0, 2, (3000, 3)).astype(np.float32)
    train_id, probability = rng.integers(0, 20, 3000).astype(np.uint8), rng.uniform(0, 1, 3000).astype(np.float32)
    whole = smooth(xyz, train_id, probability, 0.2)
    monkeypatch.setattr("pointseg.prediction.smoothing._SLAB", 101)
    for one, other in zip(whole, smooth(xyz, train_id, probability, 0.2), strict=True):
        np.testing.assert_array_equal(one, other)
