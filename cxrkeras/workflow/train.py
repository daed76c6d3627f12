"""Train: from a configuration to a complete run directory, or on from where it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.config import Config, differences, flat_overrides, load_config, overridden
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import ConfigError, RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.backbones import backbone
from cxrkeras.run import Run, all_runs, fresh_name, resolve_path
from cxrkeras.settings import PHANTOM
from cxrkeras.store import atomic_path, exclusive, sha256_file, sweep_partials
from cxrkeras.tables import HISTORY_COLUMNS, prediction_table
from cxrkeras.training.batch_norm import CALIBRATION_FILMS, calibrate_on_films
from cxrkeras.training.gains import best_epoch
from cxrkeras.training.layer_groups import configured_groups, layer_rates
from cxrkeras.training.routine import EpochRecord, Progress, train_two_stages
from cxrkeras.workflow.dataset import check_unchanged, data_root, patients_of, read_films
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.prepare import Prepared, prepare


def train(
    config: str | Path | Config | None = None,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Run:
    """Train a classifier in two stages and return its run.

    Args:
        config: name of a shipped configuration, a YAML file, a `Config`, or None: the phantom configuration without
            `data`, the papers' defaults with it.
        data: folder or CSV of films.
        run: name under `./artifacts` or path of the run directory; None makes a fresh one.
        resume: go on with an unfinished run; without `run`, the newest one with this configuration.
        reporter: told of progress.
        **settings: single settings by name (`backbone="ResNet50V2"`, `epochs=(2, 2)`, `seed=1`, …).

    Raises:
        CxrKerasError: anything wrong with configuration, films, weights or the run directory, before the first epoch.

    Example:
        >>> run = train("phantom", epochs=(1, 1))  # doctest: +SKIP
    """
    given = config is not None or data is not None or any(value is not None for value in settings.values())
    wanted = resolved_config(config, data, settings)
    if resume:
        unfinished = find_unfinished(run, wanted if given else None)
        if unfinished is not None:
            return _continue(unfinished, reporter)
        reporter.notice(f"no run at {resolve_path(run)} yet: starting it." if run else "")
    return _start(wanted, run, reporter)


def resolved_config(config: str | Path | Config | None, data: str | Path | None, settings: dict[str, Any]) -> Config:
    """The configuration with every default that depends on another one filled in, and absolute paths.

    Raises:
        ConfigError: a name, file or value that cannot be used.
    """
    overrides = flat_overrides(data=data, **settings)
    if isinstance(config, Config):
        base = overridden(config, overrides)
    elif config is None and data is None:
        base = load_config("phantom", overrides)
    else:
        base = load_config(config, overrides)
    if base.data.path is None:
        raise ConfigError(f"configuration {config} names no films. Give them with --data DIR|CSV.")
    weights = base.model.weights
    if Path(weights).expanduser().is_file():
        weights = str(Path(weights).expanduser().resolve())
    path = base.data.path
    return base.model_copy(
        update={
            "data": base.data.model_copy(
                update={"path": path if path == PHANTOM else str(Path(path).expanduser().resolve())}
            ),
            "model": base.model.model_copy(
                update={
                    "backbone": backbone(base.model.backbone).name,
                    "weights": weights,
                    "image_size": base.model.image_size or backbone(base.model.backbone).size,
                }
            ),
            "training": base.training.model_copy(update={"batch_norm": base.batch_norm}),
        }
    )


def find_unfinished(run: str | Path | None, wanted: Config | None) -> Run | None:
    """The run to resume: the named one, or the newest unfinished one with this configuration.

    Returns:
        None when a run was named that does not exist yet.

    Raises:
        RunError: it is finished, has another configuration, or there is none.
    """
    if run is not None:
        path = resolve_path(run)
        if not (path / "run.json").is_file():
            return None
        named = Run(path)
        if named.state != "running":
            raise RunError(f"{path} is {named.state}; nothing is left to resume. Choose another --run to train again.")
        if wanted is not None and named.config != wanted:
            raise RunError(
                f"{path} was started with other settings: {differences(named.config, wanted)}. "
                "Repeat the same command with --resume, or give only --run and --resume."
            )
        return named
    unfinished = [known for known in all_runs() if known.state == "running"]
    fitting = [known for known in unfinished if wanted is None or known.config == wanted]
    if fitting:
        return fitting[0]
    if unfinished:
        raise RunError(
            f"no unfinished run has these settings; the newest, {unfinished[0].path}, differs: "
            f"{differences(unfinished[0].config, wanted)}. Repeat the same command, or name it with --run."
        )
    raise RunError("no unfinished run under ./artifacts to resume. Leave --resume out to start one.")


def _start(config: Config, run: str | Path | None, reporter: Reporter) -> Run:
    if run is not None:
        Run.check_free(resolve_path(run))
    _set_determinism(config)
    if config.training.batch_norm == "calibrate":
        reporter.notice(
            "batch_norm: calibrate — BatchNorm statistics are set once from "
            f"{CALIBRATION_FILMS} training films, then kept (the default for random weights)."
        )
    _notice_recipe(config, reporter)
    prepared = prepare(config, reporter)
    prepared.facts["layer_rates"] = _layer_rates(config, prepared, reporter)
    read_films(prepared.films, reporter)
    stem = f"{Path(config.data.path).stem}-{config.model.backbone}"
    made = Run.create(resolve_path(run) if run is not None else fresh_name(stem), config)
    with exclusive(made.path):
        _fit_from_the_start(made, config, prepared, reporter)
    return made


def _continue(run: Run, reporter: Reporter) -> Run:
    config = run.config
    _set_determinism(config)
    with exclusive(run.path):
        if run.state != "running":
            raise RunError(f"{run.path} was finished by another process meanwhile; nothing is left to resume.")
        sweep_partials(run.path)
        stored = run.read_resume()
        reporter.notice(f"resuming {run.path} after epoch {stored[0] if stored else 0}.")
        if stored is None:
            prepared = prepare(config, reporter)
            prepared.facts["layer_rates"] = _layer_rates(config, prepared, reporter)
            read_films(prepared.films, reporter)
            _fit_from_the_start(run, config, prepared, reporter)
            return run
        epoch, optimizer = stored
        opened = OpenRun(run)
        check_unchanged(opened.frame, data_root(config, run.info.get("data_root")), reporter)
        opened.load(epoch)
        prepared = Prepared(opened.classifier, opened.frame, opened.films)
        read_films(prepared.films, reporter)
        history = run.history().set_index("epoch")["val_auc"]
        aucs = tuple(float(history[e]) for e in range(1, epoch + 1))
        _fit(run, config, prepared, Progress(epoch, optimizer, aucs), reporter)
    return run


def _set_determinism(config: Config) -> None:
    if config.training.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _notice_recipe(config: Config, reporter: Reporter) -> None:
    training = config.training
    if training.epochs == (0, 0):
        reporter.notice(
            "THE HEAD WAS NEVER TRAINED: epochs 0,0 keep its random head. Predictions, maps and scores of "
            "its checkpoint 0 are those of a random answer, and say nothing of the weights."
        )
    if training.recipe == "finetune":
        return
    told = f"recipe {training.recipe}: epochs {training.epochs[0]},{training.epochs[1]}"
    if departures := config.recipe_departures:
        told += f"; as given, unlike the recipe: {'; '.join(departures)}"
    reporter.notice(f"{told}.")


def _layer_rates(config: Config, prepared: Prepared, reporter: Reporter) -> list[dict[str, Any]] | None:
    """Group, rate and parameters of the second stage, said before anything is trained; None where all have one rate."""
    groups = configured_groups(prepared.classifier, config.training)
    if groups is None:
        return None
    if not config.training.epochs[1]:
        reporter.notice("layer-wise rates are the second stage's, which this run does not have: no effect.")
        return None
    rows = layer_rates(groups, config.training.learning_rate[1])
    width = max(len(row["group"]) for row in rows)
    reporter.notice("layer-wise learning rates of fine_tuning:")
    for row in rows:
        frozen = ", frozen" if not row["multiplier"] else ""
        reporter.notice(
            f"  {row['group']:<{width}}  × {row['multiplier']:<8g} rate {row['rate']:<12g} "
            f"{row['parameters']:>10} parameters in {row['layers']} layers{frozen}"
        )
    return rows


def _calibrate(prepared: Prepared, config: Config) -> None:
    if config.training.batch_norm != "calibrate":
        return
    calibrate_on_films(prepared.classifier, prepared.split("train"), config.training.seed)


def _fit_from_the_start(run: Run, config: Config, prepared: Prepared, reporter: Reporter) -> None:
    run.write_manifest(prepared.frame)
    run.update_info(**prepared.facts, checkpoints={})
    _calibrate(prepared, config)
    _fit(run, config, prepared, None, reporter)


def _fit(run: Run, config: Config, prepared: Prepared, resume: Progress | None, reporter: Reporter) -> None:
    recorder = _Recorder(run, prepared, resume.epoch if resume else 0)
    train_two_stages(
        prepared.classifier,
        prepared.split("train"),
        prepared.split("val"),
        config.training,
        config.training.batch_norm,
        recorder,
        resume=resume,
        reporter=reporter,
    )
    recorder.drop_outdone()
    run.update_info(state="complete")
    run.remove_resume()


class _Recorder:
    """Writes what the routine hands over. A checkpoint's state comes last: until then the older one stands."""

    def __init__(self, run: Run, prepared: Prepared, done: int) -> None:
        self._run, self._prepared = run, prepared
        self._test = prepared.split("test")
        self._history = run.history()
        self._history = self._history[self._history["epoch"] <= done]

    def epoch(self, record: EpochRecord, probabilities: np.ndarray) -> None:
        row = pd.DataFrame([dataclasses.asdict(record)], columns=HISTORY_COLUMNS)
        self._history = row if self._history.empty else pd.concat([self._history, row], ignore_index=True)
        self._run.write_history(self._history)
        self._write_predictions(record.epoch, "val", probabilities)

    def checkpoint(
        self, epoch: int, optimizer: dict[str, np.ndarray], predict: Callable[[FilmSet], np.ndarray]
    ) -> None:
        probabilities = predict(self._test)
        file = self._run.checkpoint_path(epoch)
        self._run.forget_predictions(epoch)
        with atomic_path(file) as partial:
            self._prepared.classifier.model.save_weights(partial)
        known = self._run.info.get("checkpoints", {})
        self._run.update_info(checkpoints={**known, str(epoch): sha256_file(file)})
        self._write_predictions(epoch, "test", probabilities)
        self._run.write_resume(epoch, optimizer)
        self.drop_outdone()

    def drop_outdone(self) -> None:
        """With `keep: best`, drop every checkpoint but the best and the newest."""
        if self._run.config.training.keep != "best":
            return
        stored = self._run.epochs()
        aucs = self._history.set_index("epoch")["val_auc"].to_dict()
        best = best_epoch({epoch: aucs[epoch] for epoch in stored if epoch in aucs})
        for epoch in set(stored) - {best, stored[-1]}:
            self._run.drop_checkpoint(epoch)

    def _write_predictions(self, epoch: int, split: str, probabilities: np.ndarray) -> None:
        rows = self._prepared.frame[self._prepared.frame["split"] == split]
        classes = self._prepared.classifier.classes
        truth = self._prepared.split(split).truth
        table = prediction_table(rows["path"], rows["label"], probabilities, classes, patients_of(rows), truth)
        self._run.write_predictions(epoch, split, table)
