"""The latency of one layer over its two channel counts, learned from what it took inside whole networks.

A kernel's cost is a combination of padded products (see `basis`); where the engine changes the kernel, the combination
changes with it. So a surface is a small tree: its splits ask what engines ask (is the count a multiple of the block, is
it small), its leaves are non-negative combinations, each fitted robustly to the samples that fall into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tailor.errors import MeasurementError
from tailor.latency.basis import DENSE_TERMS, DEPTHWISE_TERMS, FloatArray, Term, crossed_share, term_named, term_values
from tailor.latency.robust import clipped_error, non_negative_fit

__all__ = ["CROSSED", "Rule", "Samples", "Surface", "fit_surface", "surface_ns"]

BoolArray = npt.NDArray[np.bool_]

_DEPTH = 2  # splits on the way to a leaf: more found nothing on 16 networks and engines
_FEWEST = 60  # samples of a leaf
_GAIN = 0.93  # a split must bring the error of unseen samples below this share of it
_MOST_ASKED = 900  # samples that choose splits: dozens of splits are tried, and more samples choose no better
_FOLDS = 3
CROSSED = 0.5  # of a step, by one sample at least, before its cost is believed: from less it would be extrapolated far
_BLOCKS = (4, 8, 16)
_QUANTILES = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A question about channel counts: "inputs", "outputs" or "both" are a multiple of, or at most, a number."""

    axis: str
    question: str  # "multiple of" or "at most"
    number: int

    def answers(self, inputs: FloatArray, outputs: FloatArray) -> BoolArray:
        """Where the answer is yes, shape [samples]."""
        asked = [counts for name, counts in (("inputs", inputs), ("outputs", outputs)) if self.axis in (name, "both")]
        if self.question == "at most":
            answers = [counts <= self.number for counts in asked]
        else:
            answers = [counts % self.number == 0 for counts in asked]
        both: BoolArray = np.logical_and.reduce(answers)
        return both

    def __str__(self) -> str:
        return f"{self.axis} {self.question} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A leaf (`coefficients` in ns per term, by the term's name) or a split (`rule`, and the surfaces behind it)."""

    coefficients: Mapping[str, float] | None = None
    rule: Rule | None = None
    yes: Surface | None = None
    no: Surface | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The questions it asks, from the top."""
        if self.rule is None or self.yes is None or self.no is None:
            return ()
        return (self.rule, *self.yes.rules, *self.no.rules)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What layers of one kind took: arrays of shape [samples].

    `megabytes` is the working set of the network that each ran in, `milliseconds` what that network took; `followed`
    is 1 where more nodes follow the layer than others of its kind, else 0.
    """

    inputs: FloatArray
    outputs: FloatArray
    megabytes: FloatArray
    milliseconds: FloatArray
    followed: FloatArray
    ns: FloatArray

    def __len__(self) -> int:
        return len(self.ns)

    def at(self, chosen: npt.NDArray[np.generic]) -> Samples:
        """Some of them, by mask or by index."""
        return Samples(
            inputs=self.inputs[chosen],
            outputs=self.outputs[chosen],
            megabytes=self.megabytes[chosen],
            milliseconds=self.milliseconds[chosen],
            followed=self.followed[chosen],
            ns=self.ns[chosen],
        )


def fit_surface(samples: Samples, *, depthwise: bool, seed: int = 0) -> Surface:
    """The surface through the samples that predicts unseen ones best among few; outliers hardly count.

    Raises:
        MeasurementError: there are no samples.
    """
    if not len(samples):
        raise MeasurementError("a latency surface needs samples", value=0)
    asked = np.zeros(len(samples), dtype=bool)
    asked[np.random.default_rng(seed).permutation(len(samples))[:_MOST_ASKED]] = True
    terms = DEPTHWISE_TERMS if depthwise else DENSE_TERMS
    values = term_values(
        terms, samples.inputs, samples.outputs, samples.megabytes, samples.milliseconds, samples.followed
    )
    crossed = crossed_share(terms, samples.megabytes, samples.milliseconds) >= CROSSED
    grower = _Grower(samples=samples, terms=terms, values=values, crossed=crossed, asked=asked)
    return grower.grow(np.ones(len(samples), dtype=bool), _DEPTH)


def surface_ns(
    surface: Surface,
    inputs: FloatArray,
    outputs: FloatArray,
    megabytes: FloatArray,
    milliseconds: FloatArray,
    followed: FloatArray,
) -> FloatArray:
    """Latency in ns at every sample, shape [samples]; the arguments are as in `Samples`."""
    if surface.rule is not None and surface.yes is not None and surface.no is not None:
        answers = surface.rule.answers(inputs, outputs)
        rest = (inputs, outputs, megabytes, milliseconds, followed)
        return np.where(answers, surface_ns(surface.yes, *rest), surface_ns(surface.no, *rest))
    coefficients = surface.coefficients or {}
    if not coefficients:
        return np.zeros_like(inputs)
    terms = [term_named(name) for name in coefficients]
    values = term_values(terms, inputs, outputs, megabytes, milliseconds, followed)
    ns: FloatArray = values @ np.array(list(coefficients.values()))
    return ns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grower:
    """Leaves are fitted to all samples, splits are chosen by those that are `asked`."""

    samples: Samples
    terms: Sequence[Term]
    values: FloatArray
    crossed: BoolArray  # [samples, terms]
    asked: BoolArray

    def grow(self, where: BoolArray, depth: int) -> Surface:
        """The best split of these samples and what grows behind it, or a leaf."""
        asked = where & self.asked
        split = self._best_split(asked) if depth and asked.sum() >= 2 * _FEWEST else None
        if split is None:
            return self._leaf(where)
        answers = split.answers(self.samples.inputs, self.samples.outputs)
        return Surface(rule=split, yes=self.grow(where & answers, depth - 1), no=self.grow(where & ~answers, depth - 1))

    def _leaf(self, where: BoolArray) -> Surface:
        solution = self._solution(where)
        return Surface(
            coefficients={term.name: float(c) for term, c in zip(self.terms, solution, strict=True) if c > 0}
        )

    def _solution(self, where: BoolArray, rounds: int = 3) -> FloatArray:
        """A coefficient for every term, 0 where no sample says what it costs."""
        solution, told = np.zeros(len(self.terms)), self.crossed[where].any(axis=0)
        solution[told] = non_negative_fit(self.values[where][:, told], self.samples.ns[where], rounds=rounds)
        return solution

    def _best_split(self, where: BoolArray) -> Rule | None:
        best, found = _GAIN * self._unseen_error(where), None
        for rule in self._rules(where):
            answers = rule.answers(self.samples.inputs, self.samples.outputs)
            yes, no = where & answers, where & ~answers
            if min(yes.sum(), no.sum()) < _FEWEST:
                continue
            error = self._unseen_error(yes) + self._unseen_error(no)
            if error < best:
                best, found = error, rule
        return found

    def _rules(self, where: BoolArray) -> list[Rule]:
        axes = ("inputs", "outputs", "both")
        rules = [Rule(axis=axis, question="multiple of", number=block) for axis in axes for block in _BLOCKS]
        for axis, counts in (("inputs", self.samples.inputs), ("outputs", self.samples.outputs)):
            numbers = {int(np.quantile(counts[where], share)) for share in _QUANTILES}
            rules += [Rule(axis=axis, question="at most", number=number) for number in sorted(numbers)]
        return rules

    def _unseen_error(self, where: BoolArray) -> float:
        """Summed relative error of samples as the fit to the others of them predicts."""
        fold, total = np.arange(len(where)) % _FOLDS, 0.0
        for one in range(_FOLDS):
            seen, unseen = where & (fold != one), where & (fold == one)
            solution = self._solution(seen, rounds=2)
            total += clipped_error(self.values[unseen] @ solution, self.samples.ns[unseen])
        return total
