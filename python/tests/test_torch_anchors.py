"""Losses of anchors of tensors: values and gradients are those of PyTorch from the plain formula, by the scale too."""

import numpy as np
import pytest

import drlim

torch = pytest.importorskip("torch")
import drlim.torch as dt  # noqa: E402
from torch.nn.functional import cross_entropy, logsigmoid, normalize, softplus  # noqa: E402

COUNT, COLS = 12, 4
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 3])
ALIKE = (LABELS[:, None] == LABELS) & ~torch.eye(COUNT, dtype=torch.bool)
OTHERS = ~torch.eye(COUNT, dtype=torch.bool)


def leaf(*shape, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def number(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def same(ours, theirs, *inputs):
    """Values, and gradients by all inputs of a number that both are part of."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    weights = torch.linspace(0.5, 2.0, max(ours.numel(), 1), dtype=ours.dtype).reshape(ours.shape)
    sums = [(weights * value).sum() for value in (ours, theirs)]
    found, expected = (torch.autograd.grad(value, inputs, retain_graph=True) for value in sums)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def cosines(a, b):
    return 1 - ((a[:, None] - b) ** 2).sum(dim=2) / 2


def distances(z):
    """Of rows that differ; 0 of a row and itself, without a gradient."""
    d2 = ((z[:, None] - z) ** 2).sum(dim=2)
    return torch.where(OTHERS, torch.where(OTHERS, d2, 1.0).sqrt(), 0.0)


def log_sums(x, among):
    return torch.where(among, x, -torch.inf).logsumexp(dim=1)


def sup_con(s):
    """Each anchor's mean over its similar pairs, 0 where it has none."""
    each = torch.where(ALIKE, log_sums(s, OTHERS)[:, None] - s, 0.0)
    return each.sum(dim=1) / ALIKE.sum(dim=1).clamp(min=1)


def circle(u, m, gamma):
    p = -gamma * (1 + m - u).clamp(min=0).detach() * (u - 1 + m)
    g = gamma * (u + m).clamp(min=0).detach() * (u - m)
    return softplus(log_sums(p, ALIKE) + log_sums(g, OTHERS & ~ALIKE))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_sup_con(reduction):
    z, scale = leaf(COUNT, COLS), number(3.0)
    ours = dt.sup_con_loss(z, LABELS, scale=scale, reduction=reduction)
    theirs = sup_con(scale * cosines(z, z))
    theirs = {"mean": theirs.mean(), "sum": theirs.sum(), "none": theirs}[reduction]
    same(ours, theirs, z, scale)


def test_unit_rows_and_products():
    z, scale = leaf(COUNT, COLS), number([3.0])  # a number of one dimension
    unit = normalize(z)
    same(dt.sup_con_loss(z, LABELS, scale=scale, normalize=True), sup_con(scale * unit @ unit.T).mean(), z, scale)
    ours = dt.all_anchors(drlim.Softmax(), z, LABELS, scale=scale, measure="dot")
    same(ours, sup_con(scale * z @ z.T).mean(), z, scale)


@pytest.mark.parametrize("positives", ["sum", "each"])
@pytest.mark.parametrize("decoupled", [False, True])
def test_other_positives(positives, decoupled):
    z, scale = leaf(COUNT, COLS), number(3.0)
    s = scale * cosines(z, z)
    negatives = log_sums(s, OTHERS & ~ALIKE)
    if positives == "sum":
        p = log_sums(s, ALIKE)
        values = negatives - p if decoupled else torch.logaddexp(negatives, p) - p
    else:
        over = negatives[:, None] - s
        values = torch.where(ALIKE, over if decoupled else softplus(over), 0.0).sum(dim=1)
    values = values[ALIKE.any(dim=1)].sum()
    loss = drlim.Softmax(1.0, positives, decoupled)
    same(dt.all_anchors(loss, z, LABELS, scale=scale, reduction="sum"), values, z, scale)


def test_face_losses():
    z = normalize(leaf(COUNT, COLS)).detach().requires_grad_()
    scale, m = number(8.0), 0.3
    u = cosines(z, z)
    s = scale * torch.where(ALIKE, u - m, u)
    same(dt.all_anchors(drlim.CosFace(1.0, m), z, LABELS, scale=scale), sup_con(s).mean(), z, scale)
    angle = torch.where(OTHERS, u, 0.0).clamp(-1 + 1e-12, 1 - 1e-12).acos()
    turned = torch.where(u < -np.cos(m), u - m * np.sin(m), (angle + m).cos())
    s = scale * torch.where(ALIKE, turned, u)
    same(dt.all_anchors(drlim.ArcFace(1.0, m), z, LABELS, scale=scale), sup_con(s).mean(), z, scale)


def test_losses_without_a_scale():
    z = leaf(COUNT, COLS)
    u, d, dissimilar = cosines(z, z), distances(z), OTHERS & ~ALIKE
    a, b, base = 2.0, 4.0, 0.5
    values = softplus(log_sums(-a * (u - base), ALIKE)) / a + softplus(log_sums(b * (u - base), dissimilar)) / b
    same(dt.all_anchors(drlim.MultiSimilarity(a, b, base), z, LABELS, reduction="sum"), values.sum(), z)
    same(dt.all_anchors(drlim.Circle(0.25, 4.0), z, LABELS, reduction="sum"), circle(u, 0.25, 4.0).sum(), z)
    lse = log_sums(1.0 - d, dissimilar)
    j = (torch.logaddexp(lse[:, None], lse) + d - 0.125).clamp(min=0)
    values = torch.where(ALIKE, j**2 / 2, 0.0).sum() / ALIKE.sum()
    same(dt.all_anchors(drlim.Lifted(0.125, 1.0), z, LABELS, reduction="mean-of-pairs"), values, z)
    some = ALIKE.any(dim=1)
    values = (log_sums(d - 0.125, ALIKE)[some] + lse[some]).clamp(min=0).sum() + lse[~some].clamp(min=0).sum()
    same(dt.all_anchors(drlim.GeneralizedLifted(0.125, 1.0), z, LABELS, reduction="sum"), values, z)


def test_info_nce():
    """Two queries fewer than keys: the last two are negatives alone."""
    queries, keys, scale = leaf(6, COLS), leaf(8, COLS, seed=8), number(5.0)
    theirs = cross_entropy(scale * cosines(queries, keys), torch.arange(6))
    same(dt.info_nce(queries, keys, scale=scale), theirs, queries, keys, scale)
    theirs = cross_entropy(scale * queries @ keys.T, torch.arange(6), reduction="none")
    ours = dt.info_nce(queries, keys, scale=scale, measure="dot", reduction="none")
    same(ours, theirs, queries, keys, scale)


def test_clip():
    image, text, log_scale = leaf(7, COLS), leaf(7, COLS, seed=8), number(1.5)
    logits = log_scale.exp() * normalize(image) @ normalize(text).T
    at = torch.arange(7)
    theirs = (cross_entropy(logits, at) + cross_entropy(logits.T, at)) / 2
    ours = dt.clip_loss(image, text, log_scale.exp(), normalize=True)
    same(ours, theirs, image, text, log_scale)
    how = {"position": 0, "anchors": "both", "normalize": True, "reduction": "none"}
    each = dt.cross_anchors(drlim.Softmax(), image, text, scale=log_scale.exp(), **how)
    both = [cross_entropy(of, at, reduction="none") for of in (logits, logits.T)]
    same(each, torch.cat(both), image, text, log_scale)


def test_siglip():
    image, text = leaf(7, COLS), leaf(7, COLS, seed=8)
    log_scale, bias = number(1.5), number(-2.0)
    logits = log_scale.exp() * normalize(image) @ normalize(text).T + bias
    theirs = -logsigmoid((2 * torch.eye(7) - 1) * logits).sum() / 7
    ours = dt.siglip_loss(image, text, log_scale.exp(), bias, normalize=True)
    same(ours, theirs, image, text, log_scale, bias)
    constant = dt.siglip_loss(image, text, log_scale.exp().item(), -2.0, normalize=True)
    torch.testing.assert_close(constant, ours)


def test_weights_and_two_batches_by_labels():
    queries, keys = leaf(5, COLS), leaf(7, COLS, seed=8)
    of_queries, of_keys = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    weights = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)
    s, alike = 3 * cosines(queries, keys), of_queries[:, None] == of_keys
    values = s.logsumexp(dim=1) - torch.where(alike, s, 0.0).sum(dim=1) / alike.sum(dim=1)
    how = {"query_labels": of_queries, "key_labels": of_keys, "weights": weights}
    same(dt.cross_anchors(drlim.Softmax(3.0), queries, keys, **how), (weights * values).mean(), queries, keys)
    same(dt.cross_anchors(drlim.Softmax(3.0), queries, keys, reduction="none", **how), weights * values, queries, keys)


def test_only_what_needs_a_gradient_gets_one():
    image, text, scale = leaf(7, COLS), leaf(7, COLS, seed=8).detach(), number(3.0)
    dt.clip_loss(image, text, scale).backward()
    assert image.grad is not None and text.grad is None and scale.grad.shape == ()
    fixed = image.detach()
    dt.clip_loss(fixed, text, scale).backward()
    assert fixed.grad is None
    with torch.no_grad():
        assert not dt.clip_loss(image, text, scale).requires_grad


def test_upstream_and_twice():
    z, scale = leaf(COUNT, COLS), number(3.0)
    value = 3 * dt.sup_con_loss(z, LABELS, scale=scale)
    value.backward(retain_graph=True)
    once, by_scale = z.grad.clone(), scale.grad.clone()
    value.backward()
    torch.testing.assert_close(z.grad, 2 * once)
    torch.testing.assert_close(scale.grad, 2 * by_scale)


def test_types_of_results():
    z, scale = leaf(COUNT, COLS).detach().float().requires_grad_(), number(3.0)
    value = dt.sup_con_loss(z, LABELS, scale=scale)
    value.backward()
    assert value.dtype == z.grad.dtype == torch.float32 and scale.grad.dtype == torch.float64


def test_there_are_no_second_derivatives():
    z, scale = leaf(COUNT, COLS), number(3.0)
    for value in (
        dt.sup_con_loss(z, LABELS, scale=scale),
        dt.sup_con_loss(z, LABELS, scale=scale, reduction="none").sum(),
        dt.siglip_loss(z, z.detach(), scale, -1.0),
    ):
        with pytest.raises(RuntimeError, match="second derivatives"):
            torch.autograd.grad(value, z, create_graph=True)


def test_what_is_refused():
    z, scale = leaf(COUNT, COLS), number(3.0)
    for error, words, call in [
        (TypeError, "^scale is given", lambda: dt.all_anchors(drlim.Circle(), z, LABELS, scale=scale)),
        (TypeError, "^loss is", lambda: dt.all_anchors(drlim.Contrastive(), z, LABELS)),
        (ValueError, "^scale is -3", lambda: dt.sup_con_loss(z, LABELS, scale=-scale)),
        (ValueError, "^scale has shape", lambda: dt.sup_con_loss(z, LABELS, scale=z)),
        (TypeError, r"^scale is of torch.float16.*float\(\)", lambda: dt.sup_con_loss(z, LABELS, scale=scale.half())),
        (TypeError, "^logit_bias is", lambda: dt.siglip_loss(z, z, scale, "no")),
        (ValueError, "^text has shape", lambda: dt.clip_loss(z, z[:3], scale)),
        (ValueError, "weights", lambda: dt.all_anchors(drlim.Softmax(), z, LABELS, weights=z[:, 0])),
    ]:
        with pytest.raises(error, match=words):
            call()
