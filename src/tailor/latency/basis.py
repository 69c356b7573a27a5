"""What the latency of one layer may be made of: padded channels, products, alignment, and data out of the cache.

Kernels pad channels to their block, jump to another implementation at counts that are no multiple of it, and wait for
data that have left the caches: because the network's working set outgrew one, or because so much time has passed since
the last call that others on the host have filled them. Every term is non-negative and grows with the channels, so that
a non-negative combination of them is a believable latency wherever it is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "DENSE_TERMS", "DEPTHWISE_TERMS", "EVICTED", "EVICTION_STEPS", "FOOTPRINT_STEPS", "Term", "crossed_share",
    "eviction_share", "footprint_share", "term_named", "term_values",
]  # fmt: skip

FloatArray = npt.NDArray[np.float64]

_BLOCKS = (1, 4, 8, 16, 32, 48, 64)  # channel blocks of today's kernels; 1 is no padding
_PAIRS = (
    (1, 1), (1, 4), (1, 8), (1, 16), (1, 32), (1, 48), (1, 64), (4, 4), (4, 16), (8, 1), (8, 8), (16, 1), (16, 8),
    (16, 16), (16, 32), (16, 48), (16, 64), (32, 32), (64, 16), (64, 64),
)  # blocks of inputs and outputs whose padded product is tried: no kernel uses them all
_ALIGNMENTS = (4, 16)
# Megabytes of weights and activations over which the cost of fetching a weight rises: from a core's cache to memory.
FOOTPRINT_STEPS: tuple[tuple[float, float], ...] = tuple((0.5 * 2**step, 1.0 * 2**step) for step in range(9))
# Milliseconds that the network takes over which data of its last call are lost. Each ends where the next begins.
EVICTION_STEPS: tuple[tuple[float, float], ...] = tuple((0.125 * 2**step, 0.25 * 2**step) for step in range(10))
EVICTED = ("evicted product", "evicted")  # kinds of terms: what is lost of a layer grows with its weights, or does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a layer's latency; `kind` says which, the numbers are its channel blocks.

    "constant" · "followed": outputs where more nodes follow the layer than others of its kind, else 0 ·
    "outputs": padded outputs · "inputs": padded inputs · "product": padded inputs x padded outputs ·
    "odd outputs", "odd inputs": the channels where they are no multiple of the block, else 0 · "odd in product",
    "odd out product", "even in product": inputs x outputs where the inputs (outputs) are no (are a) multiple ·
    "even product": where both are · "fetched": inputs x outputs times how far the working set has left a cache (step
    `inputs`) · "evicted product", "evicted": inputs x outputs, or 1, times how far data are evicted in the time that
    the network takes (step `inputs`).
    """

    kind: str
    inputs: int = 1
    outputs: int = 1

    @property
    def name(self) -> str:
        """Unique text: the key of the term's coefficient in a stored model."""
        return f"{self.kind} {self.inputs} {self.outputs}"


def term_named(name: str) -> Term:
    """The term with this name."""
    kind, inputs, outputs = name.rsplit(" ", 2)
    return Term(kind=kind, inputs=int(inputs), outputs=int(outputs))


def _outputs() -> list[Term]:
    padded = [Term(kind="outputs", outputs=block) for block in _BLOCKS]
    padded += [Term(kind="odd outputs", outputs=block) for block in _ALIGNMENTS]
    return padded + [Term(kind="evicted", inputs=step) for step in range(len(EVICTION_STEPS))]


def _both() -> list[Term]:
    terms = [Term(kind="inputs", inputs=block) for block in _BLOCKS]
    terms += [Term(kind="product", inputs=a, outputs=b) for a, b in _PAIRS]
    for block in _ALIGNMENTS:
        terms += [Term(kind="odd inputs", inputs=block), Term(kind="odd in product", inputs=block)]
        terms += [Term(kind="even in product", inputs=block), Term(kind="odd out product", outputs=block)]
    terms.append(Term(kind="even product", inputs=16, outputs=16))
    terms += [Term(kind="evicted product", inputs=step) for step in range(len(EVICTION_STEPS))]
    return terms + [Term(kind="fetched", inputs=step) for step in range(len(FOOTPRINT_STEPS))]


# Inputs and outputs move together.
DEPTHWISE_TERMS: tuple[Term, ...] = (Term(kind="constant"), Term(kind="followed"), *_outputs())
DENSE_TERMS: tuple[Term, ...] = (*DEPTHWISE_TERMS, *_both())


def term_values(
    terms: Sequence[Term],
    inputs: FloatArray,
    outputs: FloatArray,
    megabytes: FloatArray,
    milliseconds: FloatArray,
    followed: FloatArray,
) -> FloatArray:
    """Every term at every sample, shape [samples, terms].

    `inputs` and `outputs` are channel counts, `megabytes` the working set of the whole network, `milliseconds` what
    it takes, and `followed` is 1 where more nodes follow the layer than others of its kind, else 0: all [samples].
    """
    return np.stack([_value(term, inputs, outputs, megabytes, milliseconds, followed) for term in terms], axis=1)


def crossed_share(terms: Sequence[Term], megabytes: FloatArray, milliseconds: FloatArray) -> FloatArray:
    """How far (0 to 1) each term's step is crossed at every sample, 1 for terms without one; shape [samples, terms]."""
    shares = {
        "fetched": functools.partial(footprint_share, megabytes=megabytes),
        **dict.fromkeys(EVICTED, functools.partial(eviction_share, milliseconds=milliseconds)),
    }
    plain = np.ones_like(megabytes)
    return np.stack([shares[t.kind](t.inputs) if t.kind in shares else plain for t in terms], axis=1)


def footprint_share(step: int, megabytes: FloatArray) -> FloatArray:
    """How far (0 to 1) a working set of this size has crossed a step."""
    return _crossed(FOOTPRINT_STEPS[step], megabytes)


def eviction_share(step: int, milliseconds: FloatArray) -> FloatArray:
    """How far (0 to 1) a network that takes so long has crossed a step."""
    return _crossed(EVICTION_STEPS[step], milliseconds)


def _crossed(step: tuple[float, float], value: FloatArray) -> FloatArray:
    low, high = step
    share: FloatArray = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share


def _value(
    term: Term,
    inputs: FloatArray,
    outputs: FloatArray,
    megabytes: FloatArray,
    milliseconds: FloatArray,
    followed: FloatArray,
) -> FloatArray:
    a, b = term.inputs, term.outputs
    product = inputs * outputs
    if term.kind == "fetched":
        return product * footprint_share(a, megabytes)
    if term.kind in EVICTED:
        return (product if term.kind == "evicted product" else 1.0) * eviction_share(a, milliseconds)
    padded_in, padded_out = np.ceil(inputs / a) * a, np.ceil(outputs / b) * b
    values: dict[str, FloatArray] = {
        "constant": np.ones_like(inputs),
        "followed": outputs * followed,
        "outputs": padded_out,
        "inputs": padded_in,
        "product": padded_in * padded_out,
        "odd outputs": np.where(outputs == padded_out, 0.0, outputs),
        "odd inputs": np.where(inputs == padded_in, 0.0, inputs),
        "odd in product": np.where(inputs == padded_in, 0.0, product),
        "odd out product": np.where(outputs == padded_out, 0.0, product),
        "even in product": np.where(inputs == padded_in, product, 0.0),
        "even product": np.where((inputs == padded_in) & (outputs == padded_out), product, 0.0),
    }
    return values[term.kind]
