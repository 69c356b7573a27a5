"""Data, training, recalibration and accuracy."""

from tailor.training.data import Data
from tailor.training.evaluate import accuracy
from tailor.training.evaluator import AccuracyEvaluator
from tailor.training.gradual import PruningSchedule, train_gradually
from tailor.training.loop import train
from tailor.training.precision import training_device
from tailor.training.recalibrate import recalibrate
from tailor.training.recipes import RECIPES, Recipe, recipe_named
from tailor.training.sources import load_data

__all__ = [
    "RECIPES",
    "AccuracyEvaluator",
    "Data",
    "PruningSchedule",
    "Recipe",
    "accuracy",
    "load_data",
    "recalibrate",
    "recipe_named",
    "train",
    "train_gradually",
    "training_device",
]
