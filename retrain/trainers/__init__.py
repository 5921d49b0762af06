"""How a model is trained: one module per trainer."""

from typing import Final

from retrain.base import Reason, RetrainError, Trainer
from retrain.trainers.command import CommandTrainer
from retrain.trainers.scikit_learn import ScikitLearnTrainer

TRAINERS: Final[dict[str, type[Trainer]]] = {
    "command": CommandTrainer,
    "sklearn": ScikitLearnTrainer,
}


def make_trainer(name: str) -> Trainer:
    """The trainer of that registry name. Raises RetrainError."""
    if name not in TRAINERS:
        message, hint = f"no trainer is called {name!r}", f"known are {', '.join(sorted(TRAINERS))}"
        raise RetrainError(Reason.BAD_SETTING, message, hint)
    return TRAINERS[name]()
