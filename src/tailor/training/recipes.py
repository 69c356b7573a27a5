"""How a network is trained, as data: the paper's recipe, the short default, and none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tailor.errors import InvalidOptionError, UnknownNameError

__all__ = ["RECIPES", "SCHEDULES", "Recipe", "recipe_named"]

SCHEDULES = ("steps", "cosine", "one-cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a training but the model and the data.

    `learning_rate` is the highest one. `schedule` "steps" multiplies it by `gamma` at the `milestones` (epochs),
    "cosine" lowers it to zero, "one-cycle" raises it over the first fifth and then lowers it (momentum fixed).
    `distillation_weight` (0 to 1) is the teacher's part of the loss where a teacher is given, at `temperature`.
    `ema_decay` averages the weights of the last 1 / (1 - ema_decay) steps or so; None keeps the last weights.
    `gradient_clip` bounds the global gradient norm. `precision` is "auto", "bf16" or "fp32".
    """

    name: str
    epochs: int
    learning_rate: float = 0.1
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    batch_size: int = 128
    distillation_weight: float = 0.0
    temperature: float = 4.0
    ema_decay: float | None = None
    label_smoothing: float = 0.0
    gradient_clip: float | None = None
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InvalidOptionError(
                f"schedule {self.schedule!r} is not one of {', '.join(SCHEDULES)}", value=self.schedule
            )
        for name, value, sound in (
            ("epochs", self.epochs, self.epochs >= 0),
            ("learning_rate", self.learning_rate, self.learning_rate > 0),
            ("batch_size", self.batch_size, self.batch_size >= 1),
            ("temperature", self.temperature, self.temperature > 0),
            ("distillation_weight", self.distillation_weight, 0 <= self.distillation_weight <= 1),
            ("ema_decay", self.ema_decay, self.ema_decay is None or 0 < self.ema_decay < 1),
            ("gradient_clip", self.gradient_clip, self.gradient_clip is None or self.gradient_clip > 0),
        ):
            if not sound:
                raise InvalidOptionError(f"{name} {value} is out of range for a recipe", value=value)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        # Liu et al. 2021 (LACP): the paper's pre-training and fine-tuning, the same for all methods it compares
        "lacp": Recipe(
            name="lacp", epochs=200, learning_rate=0.1, schedule="steps", milestones=(50, 100, 150), gamma=0.1
        ),
        # Our choice for a network that was trained, cut and recalibrated: a warm-up that does not throw the inherited
        # weights away, one fall to zero, the dense network as teacher, averaged weights at the end.
        "short": Recipe(
            name="short",
            epochs=6,
            learning_rate=0.02,
            schedule="one-cycle",
            nesterov=True,
            distillation_weight=0.9,
            temperature=4.0,
            ema_decay=0.998,
            gradient_clip=5.0,
        ),
        "none": Recipe(name="none", epochs=0),
    }
)


def recipe_named(name: str, epochs: int | None = None, *, seed: int = 0) -> Recipe:
    """The recipe of this name, with another number of epochs if given; milestones move in proportion.

    Raises:
        UnknownNameError: listing the known names.
        InvalidOptionError: epochs below 1, or epochs for "none".
    """
    if name not in RECIPES:
        raise UnknownNameError(f"no recipe {name!r}; known are {', '.join(RECIPES)}", value=name)
    recipe = replace(RECIPES[name], seed=seed)
    if epochs is None:
        return recipe
    if epochs < 1 or not recipe.epochs:
        way_out = "choose the recipe short or lacp" if not recipe.epochs else "choose the recipe none to skip training"
        raise InvalidOptionError(f"recipe {name!r} cannot run {epochs} epochs; {way_out}", value=epochs)
    milestones = tuple(round(m * epochs / recipe.epochs) for m in recipe.milestones)
    return replace(recipe, epochs=epochs, milestones=milestones)
