"""The loss: weighted sums over supervised points only, harmless without any."""

from __future__ import annotations

import math

import pytest
import torch

from pointseg.losses import class_weights, segmentation_loss


def batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 50, 4, generator=generator, dtype=dtype, requires_grad=True)
    label = torch.randint(4, (2, 50), generator=generator)
    supervised = torch.rand(2, 50, generator=generator) < 0.6
    return logits, label, supervised


def test_class_weights():
    weights = class_weights(torch.tensor([60, 30, 10, 0]))
    assert weights.dtype == torch.float32
    expected = [1 / math.log(1.2 + share) for share in (0.6, 0.3, 0.1, 0.0)]
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("counts", [[0, 0], [3, -1], [[1, 2]]])
def test_class_weights_refuse_what_are_no_counts(counts):
    with pytest.raises(ValueError, match="counts must be"):
        class_weights(torch.tensor(counts))


@pytest.mark.parametrize("weighted", [True, False])
def test_sum_and_count_agree_with_loops(weighted):
    logits, label, supervised = batch()
    class_weight = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64) if weighted else None
    total, count = segmentation_loss(logits, label, supervised, class_weight)
    expected, points = 0.0, 0
    for b in range(2):
        for i in range(50):
            if supervised[b, i]:
                row = [math.exp(value) for value in logits[b, i].tolist()]
                factor = class_weight[label[b, i]].item() if weighted else 1.0
                expected -= factor * math.log(row[label[b, i]] / sum(row))
                points += 1
    assert count.item() == points
    assert count.dtype == torch.int64
    assert total.item() == pytest.approx(expected, rel=1e-12)


def test_labels_of_unsupervised_points_may_be_anything():
    logits, label, supervised = batch()
    expected = segmentation_loss(logits, label, supervised)
    for junk in (255, -1, 10**6):
        total, count = segmentation_loss(logits, torch.where(supervised, label, junk), supervised)
        assert (total, count) == expected
    total.backward()
    assert (logits.grad[~supervised] == 0).all()
    assert (logits.grad[supervised] != 0).all()


def test_a_batch_without_supervision_has_no_effect():
    logits, label, _ = batch(torch.float32)
    nothing = torch.zeros(2, 50, dtype=torch.bool)
    total, count = segmentation_loss(logits, torch.full_like(label, 255), nothing, torch.ones(4))
    assert (total.item(), count.item()) == (0.0, 0)
    (total / count.clamp_min(1)).backward()
    assert (logits.grad == 0).all()


def test_half_precision_logits_are_summed_in_float32():
    logits, label, supervised = batch(torch.float32)
    low, _ = segmentation_loss(logits.bfloat16(), label, supervised)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(segmentation_loss(logits, label, supervised)[0].item(), rel=1e-2)


def test_wrong_shapes_are_named():
    logits, label, supervised = batch()
    with pytest.raises(ValueError, match=r"must be \[2, 50\], got \[2, 49\]"):
        segmentation_loss(logits, label[:, 1:], supervised)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        segmentation_loss(logits, label, supervised.long())
