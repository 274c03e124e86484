"""The network over user and item embeddings that `mlp` trains: its predictions, its start, its gradients in compiled code."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats, Floats64, Ints
from mfbench.matrix.compiled import compiled

DTYPE = np.float32
HIDDEN = (32, 4)
PREDICTED_AT_ONCE = 1 << 12

Layers = tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True)
class Network:
    """r̂ = mean + user_bias[u] + item_bias[i] + dense layers over the embeddings of u and i.

    P: [n_users, K], Q: [n_items, K], the embeddings. layers: kernel [inputs, outputs] and bias [outputs] of each layer, the
    first with 2 K inputs, P's before Q's, the last with one output; relu between layers.
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float
    layers: Layers

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each pair, computed in float64; overflow shows as inf or nan."""
        # np.einsum, unlike @, sums in the same order on any number of cores.
        (kernel, bias), *deeper = [(kernel.T.astype(np.float64), bias.astype(np.float64)) for kernel, bias in self.layers]
        out, K = np.empty(len(users)), self.P.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            # Apply the first layer once to each user and item, not to each pair.
            p = np.einsum("uk,hk->uh", self.P.astype(np.float64), kernel[:, :K]) + bias
            q = np.einsum("ik,hk->ih", self.Q.astype(np.float64), kernel[:, K:])
            for lo in range(0, len(users), PREDICTED_AT_ONCE):
                u, i = users[lo : lo + PREDICTED_AT_ONCE], items[lo : lo + PREDICTED_AT_ONCE]
                h = p[u] + q[i]
                for kernel, bias in deeper:
                    h = np.einsum("nh,kh->nk", np.maximum(h, 0), kernel) + bias
                biases = self.user_bias[u].astype(np.float64) + self.item_bias[i]
                out[lo : lo + PREDICTED_AT_ONCE] = self.mean + biases + h[:, 0]
        return out

    def arrays(self) -> dict[str, Floats]:
        """The arrays to save, by name; not called P and Q, so as not to be taken for factors."""
        return {
            "user_embedding": self.P,
            "item_embedding": self.Q,
            "user_bias": self.user_bias,
            "item_bias": self.item_bias,
            "mean": np.array(self.mean, dtype=np.float64),
            **{f"kernel_{n}": kernel for n, (kernel, _) in enumerate(self.layers, 1)},
            **{f"bias_{n}": bias for n, (_, bias) in enumerate(self.layers, 1)},
        }


def drawn_layers(K: int, rng: np.random.Generator) -> Layers:
    """The initial dense layers: kernels uniform within √(6 / (inputs + outputs)) of 0, biases 0."""
    sizes = (2 * K, *HIDDEN, 1)

    def layer(inputs: int, outputs: int) -> tuple[Floats, Floats]:
        limit = math.sqrt(6 / (inputs + outputs))
        return rng.uniform(-limit, limit, (inputs, outputs)).astype(DTYPE), np.zeros(outputs, DTYPE)

    return tuple(layer(*pair) for pair in itertools.pairwise(sizes))


def flat(layers: Layers) -> Floats:
    """[1, n]: all kernels and biases as the one row of a table."""
    return np.concatenate([array.ravel() for layer in layers for array in layer])[None]


def layers_of(flat: Floats, K: int) -> Layers:
    """The inverse of `flat`, as views."""
    sizes, layers, at = (2 * K, *HIDDEN, 1), [], 0
    for inputs, outputs in itertools.pairwise(sizes):
        end = at + inputs * outputs
        layers.append((flat[at:end].reshape(inputs, outputs), flat[end : end + outputs]))
        at = end + outputs
    return tuple(layers)


@compiled(reordered=True)
def first_layer(rows: Array, state: Array, kernel: Array) -> Array:
    """float32 [n, units]: what the embedding of each of n rows adds to the first layer.

    state: [rows, 3, columns], as of `AdamRows`. kernel: [K, units], the half of the first kernel that is for this table.
    """
    K, units = kernel.shape
    x = np.zeros((len(rows), units), DTYPE)
    whole = K - K % 4  # four terms at once, so that a row of x is read and written a fourth as often
    for n in range(len(rows)):
        row, out = state[rows[n], 0], x[n]
        for k in range(0, whole, 4):
            r0, r1, r2, r3 = row[k], row[k + 1], row[k + 2], row[k + 3]
            for h in range(np.uint32(units)):
                out[h] += (r0 * kernel[k, h] + r1 * kernel[k + 1, h]) + (r2 * kernel[k + 2, h] + r3 * kernel[k + 3, h])
        for k in range(whole, K):
            for h in range(np.uint32(units)):
                out[h] += row[k] * kernel[k, h]
    return x


@compiled(reordered=True)
def first_gradients(rows: Array, state: Array, kernel: Array, dx: Array, gradient: Array, dkernel: Array) -> None:
    """Add what dx, the gradient of `first_layer`, makes of the gradients of the rows, by slot, and of the kernel."""
    K, units = np.uint32(kernel.shape[0]), kernel.shape[1]
    turned = kernel.T.copy()
    for n in range(len(rows)):
        d, drow = dx[n], gradient[n]
        for h in range(0, units, 4):
            d0, d1, d2, d3 = d[h], d[h + 1], d[h + 2], d[h + 3]
            for k in range(K):
                drow[k] += (d0 * turned[h, k] + d1 * turned[h + 1, k]) + (d2 * turned[h + 2, k] + d3 * turned[h + 3, k])
    whole = len(rows) - len(rows) % 4
    for n in range(0, whole, 4):
        p0, p1, p2, p3 = state[rows[n], 0], state[rows[n + 1], 0], state[rows[n + 2], 0], state[rows[n + 3], 0]
        e0, e1, e2, e3 = dx[n], dx[n + 1], dx[n + 2], dx[n + 3]
        for k in range(K):
            r0, r1, r2, r3 = p0[k], p1[k], p2[k], p3[k]
            for h in range(np.uint32(units)):
                dkernel[k, h] += (r0 * e0[h] + r1 * e1[h]) + (r2 * e2[h] + r3 * e3[h])
    for n in range(whole, len(rows)):
        for k in range(K):
            for h in range(np.uint32(units)):
                dkernel[k, h] += state[rows[n], 0, k] * dx[n, h]


@compiled(reordered=True)
def network_gradients(
    users: Array, items: Array, values: Array, P: Array, Q: Array, user_slot: Array, item_slot: Array, K: int, bias: bool,
    layers: Any, x_user: Array, x_item: Array, dP: Array, dQ: Array, dlayers: Any,
) -> tuple[Array, Array]:  # fmt: skip
    """The gradients of e², summed over the ratings of a batch, of x_user and x_item, the sums of the first layer by slot.

    Those of the biases of users and items, in column K, and of all layers but the first kernel are added to dP, dQ and
    dlayers. bias: whether the biases are learned. layers: see `layers_of`.
    """
    (_, offset_1), (kernel_2, offset_2), (kernel_3, offset_3) = layers
    (_, doffset_1), (dkernel_2, doffset_2), (dkernel_3, doffset_3) = dlayers
    units, deeper = np.uint32(kernel_2.shape[0]), np.uint32(kernel_2.shape[1])
    zero = DTYPE(0)
    turned = kernel_2.T.copy()
    dturned, dx_user, dx_item = np.zeros_like(turned), np.zeros_like(x_user), np.zeros_like(x_item)
    x, h, dh, g = np.zeros(units, DTYPE), np.zeros(units, DTYPE), np.zeros(units, DTYPE), np.zeros(deeper, DTYPE)
    for n in range(len(users)):
        u, i = users[n], items[n]
        xu, xi, du, di = x_user[user_slot[u]], x_item[item_slot[i]], dx_user[user_slot[u]], dx_item[item_slot[i]]
        for k in range(units):
            x[k] = xu[k] + xi[k] + offset_1[k]
            h[k] = zero if x[k] <= zero else x[k]
            dh[k] = zero
        e = offset_3[0] - values[n]
        if bias:
            e += P[u, 0, K] + Q[i, 0, K]
        for j in range(deeper):
            total = offset_2[j]
            for k in range(units):
                total += h[k] * turned[j, k]
            g[j] = zero if total <= zero else total
            e += g[j] * kernel_3[j, 0]
        e2 = e + e
        doffset_3[0] += e2
        if bias:
            dP[user_slot[u], K] += e2
            dQ[item_slot[i], K] += e2
        for j in range(deeper):
            dkernel_3[j, 0] += e2 * g[j]
            if g[j] != zero:
                d = e2 * kernel_3[j, 0]
                doffset_2[j] += d
                for k in range(units):
                    dturned[j, k] += d * h[k]
                    dh[k] += d * turned[j, k]
        for k in range(units):
            d = dh[k] if x[k] > zero else zero
            doffset_1[k] += d
            du[k] += d
            di[k] += d
    dkernel_2 += dturned.T
    return dx_user, dx_item
