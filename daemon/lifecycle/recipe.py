"""How one model is trained, judged and deployed: the settings in the words of the parts that do it."""

from dataclasses import dataclass, field
from pathlib import Path

from daemon.settings import Mode, ModelSettings
from retrain.deployers.settings import DeployerSettings
from retrain.job import GateSettings, Limits, TrainerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a retrain of one model goes by."""

    mode: Mode = Mode.AUTO
    window_rows: int = 50_000
    """Most labelled rows to learn from."""
    exclude: tuple[str, ...] = ()
    """Features to leave out."""
    positive: str | None = None
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    limits: Limits = field(default_factory=Limits)
    deployer: str = "symlink"
    deploy: DeployerSettings = field(default_factory=DeployerSettings)

    @classmethod
    def of(cls, settings: ModelSettings, data_dir: Path) -> "Recipe":
        """Take a model's recipe from its settings; ``data_dir`` holds what they leave open."""
        retrain, gate, deploy = settings.retrain, settings.gate, settings.deploy
        return cls(
            mode=settings.mode,
            window_rows=retrain.window_rows,
            exclude=settings.exclude or (),
            positive=settings.positive,
            trainer=TrainerSettings(
                name=retrain.trainer,
                command=retrain.command,
                python=None if retrain.python is None else str(retrain.python),
                directory=None if retrain.directory is None else str(retrain.directory.absolute()),
                format=retrain.format,
                algorithms=retrain.algorithms,
                folds=retrain.folds,
                seed=retrain.seed,
            ),
            gate=GateSettings(
                loss=gate.loss,
                minimum_gain=gate.minimum_gain,
                confidence=gate.confidence,
                minimum_rows=gate.minimum_rows,
                evaluation_share=gate.evaluation_share,
                slice_floor=gate.slice_floor,
                slice_rows=gate.slice_rows,
                slice_features=gate.slice_features or (),
                fairness_attribute=gate.fairness_attribute,
                fairness_bound=gate.fairness_bound,
                calibration_bound=gate.calibration_bound,
                latency_ms=gate.latency_ms,
                size_mb=gate.size_mb,
            ),
            limits=Limits(seconds=retrain.timeout_seconds, memory_mb=retrain.memory_mb, threads=retrain.threads),
            deployer=deploy.deployer,
            deploy=DeployerSettings(
                directory=(deploy.directory or data_dir / "deployed").absolute(),
                command=deploy.command,
                url=None if deploy.url is None else deploy.url.get_secret_value(),
                token=None if deploy.token is None else deploy.token.get_secret_value(),
                timeout_seconds=deploy.timeout_seconds,
            ),
        )
