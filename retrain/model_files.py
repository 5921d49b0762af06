"""Saves and loads a scikit-learn model without executing what is in the file."""

from pathlib import Path
from typing import Any, Final

from retrain.base import Reason, RetrainError

MODEL_FILE: Final = "model.skops"
TRUSTED: Final = (
    # parts of scikit-learn's own models that skops does not trust by itself; none of them runs code when it is made.
    # What a partial wraps is checked too.
    "functools.partial",
    "numpy.dtype",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
)


def save_model(model: Any, file: Path) -> None:
    """Save ``model`` with skops. Raises RetrainError where ``load_model`` would refuse it."""
    import skops.io

    skops.io.dump(model, file)
    refused = _refused(file)
    if refused:
        message = f"the model holds types that are not trusted: {', '.join(refused)}"
        raise RetrainError(Reason.TRAINER_FAILED, message, "install the locked versions of scikit-learn and skops")


def load_model(file: Path) -> Any:
    """The model in ``file``. Raises RetrainError for a file that holds a type outside the list above."""
    import skops.io

    refused = _refused(file)
    if refused:
        message = f"{file.name} holds types that are not trusted: {', '.join(refused)}"
        raise RetrainError(Reason.BAD_OUTPUT, message, "do not load it: it was not made by this trainer")
    return skops.io.load(file, trusted=list(TRUSTED))


def _refused(file: Path) -> list[str]:
    import skops.io

    return [name for name in skops.io.get_untrusted_types(file=file) if name not in TRUSTED]
