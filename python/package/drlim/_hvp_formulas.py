"""Hessian-vector products that are formulas of NumPy: of cosines, and of rows that are scaled to unit length."""

from __future__ import annotations

from typing import Callable

import numpy as np

from ._arrays import Array


def of_unit_rows(
    z: Array, v: Array, gradient: Callable[[Array], Array], product: Callable[[Array, Array], Array]
) -> Array:
    """The product along v of a function of unit rows, by the rows z before they are scaled to unit length.

    G(z) = P g(u)/n with n = |z|, u = z/n and P = 1 - u u'; along v, n moves by u·v and u by w = P v/n:

        P H w/n - ((u·g) P v + (u·v) P g + (g·P v) u)/n²
    """
    inverse = inverse_lengths(z)
    u = z * inverse
    g = gradient(u)
    across_u = less_along(v, u)
    h = product(u, across_u * inverse)
    bend = dots(u, g) * across_u + dots(u, v) * less_along(g, u) + dots(g, across_u) * u
    turned: Array = less_along(h, u) * inverse - bend * inverse * inverse
    return turned


def cosine_hvp(a: Array, b: Array, upstream: Array, va: Array, vb: Array) -> tuple[Array, Array, Array]:
    """The products by a and b, and the change, of 1 - cos, where cos = u·w, u = a/|a| and w = b/|b|. Its gradient by a
    is -P_u w/|a| with P_u = 1 - u u'.

    Along va and vb, u moves by du = P_u va/|a| and w by dw = P_w vb/|b|:

        h_a = -(P_u dw/|a| - ((u·va) P_u w + cos P_u va + (P_u va·w) u)/|a|²)
    """
    of_a, of_b = inverse_lengths(a), inverse_lengths(b)
    u, w = a * of_a, b * of_b
    cos = dots(u, w)
    # As in the gradient: a row has a direction where its squared length is a normal number.
    tiny = np.finfo(a.dtype).tiny
    angled = ~((dots(a, a) < tiny) | (dots(b, b) < tiny))

    def by(u: Array, w: Array, of_u: Array, of_w: Array, vu: Array, vw: Array) -> Array:
        moved, dw = less_along(vu, u), less_along(vw, w) * of_w
        turn = dots(u, vu) * less_along(w, u) + cos * moved + dots(moved, w) * u
        return np.where(angled, upstream * (turn * of_u * of_u - less_along(dw, u) * of_u), 0.0).astype(u.dtype)

    change = -(dots(less_along(w, u) * of_a, va) + dots(less_along(u, w) * of_b, vb))
    derivatives = np.where(angled, change, 0.0).astype(a.dtype)[:, 0]
    return by(u, w, of_a, of_b, va, vb), by(w, u, of_b, of_a, vb, va), derivatives


def inverse_lengths(z: Array) -> Array:
    """1/|z| of each row, 0 where it has no direction: N x 1."""
    largest = np.abs(z).max(axis=1, initial=0.0, keepdims=True)
    shares = np.divide(z, largest, out=np.zeros_like(z), where=largest != 0)  # whose squares are in range
    lengths = largest * np.sqrt(dots(shares, shares))
    has_direction = ~(lengths < np.finfo(z.dtype).tiny)
    inverse: Array = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=has_direction)
    return inverse


def dots(a: Array, b: Array) -> Array:
    """a_i·b_i: N x 1."""
    products: Array = np.einsum("ij,ij->i", a, b)
    return products[:, None]


def less_along(a: Array, u: Array) -> Array:
    """The rows of `a` without their parts along the unit rows `u`."""
    rest: Array = a - dots(a, u) * u
    return rest
