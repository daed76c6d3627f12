"""Study: train every run, score every cell, analyse, check, and put the runs side by side; resumable cell by cell."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrkeras.config import differences
from cxrkeras.errors import RunError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import exclusive
from cxrkeras.study import Cell, Member, Outcome, Study, StudyConfig, work_through
from cxrkeras.study.cells import reason
from cxrkeras.study.directory import study_path
from cxrkeras.workflow.dataset import configured_manifest
from cxrkeras.workflow.processes import silence
from cxrkeras.workflow.report.report import report_study
from cxrkeras.workflow.study.config import check_split, resolved_members, whole_data
from cxrkeras.workflow.study.fractions import draw_efficiency, stored_efficiency
from cxrkeras.workflow.study.run import is_trained, run_work
from cxrkeras.workflow.study.tables import cell_table, store_tables

# A process gives back little of the memory that Keras's compiled steps took: 0.3 GB a ResNet50V2 trained.
MOST_TOGETHER = 4


@dataclass(frozen=True)
class StudyResult:
    """What a study gave.

    Attributes:
        study: its directory.
        headline: a row a run and method, at the recommended checkpoint.
        findings: every finding of every run.
        fractions: AUC and localization by label fraction, mean and spread over seeds; None where the study crosses
            neither weights nor recipes nor fractions.
        cells: a row a piece of work: `run, work, split, epoch, method, state, seconds, error`.
        report: the report's file, None where none was asked for or it failed.
    """

    study: Study
    headline: pd.DataFrame
    findings: pd.DataFrame
    fractions: pd.DataFrame | None
    cells: pd.DataFrame
    report: Path | None

    @property
    def failed(self) -> pd.DataFrame:
        """The cells that could not be done."""
        return self.cells[self.cells["state"] == "failed"]


def run_study(
    config: StudyConfig,
    path: str | Path,
    *,
    jobs: int = 1,
    reporter: Reporter = SILENT,
) -> StudyResult:
    """Do all of a study that is not done yet.

    A complete run whose configuration is the study's is taken as it is; stored score rows are read; a stopped study
    goes on with the same call. A cell that fails is noted and the others go on.

    Args:
        config: see `workflow.study.config.resolved_study`.
        path: name under `./artifacts`, or path, of the study's directory.
        jobs: runs that are worked on at the same time, each in a process of its own; so are they one after another
            where more than four are to be trained.
        reporter: told of progress.

    Raises:
        RunError: the directory is in use or foreign, or holds a run with another configuration.
        ConfigError: no film is in the split that is evaluated.
        DataError: the films cannot be used.
    """
    if jobs < 1:
        raise UsageError(f"jobs counts processes: expected at least 1. Received {jobs}.")
    target = study_path(path)
    wanted = resolved_members(config)
    with exclusive(target):
        check_runs(Study(target), wanted)
        if not any((Study(target).run_path(member.name) / "run.json").is_file() for member in wanted):
            check_split(config, configured_manifest(whole_data(config), reporter).frame["split"])
        study = Study.create(target, config)
        names = [member.name for member in wanted]
        work = _in_turn if len(names) == 1 or (jobs == 1 and _fit_together(study, wanted)) else _in_processes
        outcomes = work(study, names, jobs, reporter)
        headline, findings = store_tables(study, config, reporter)
        report = None
        if config.study.report and any(run.several for run in study.runs()):
            reporter.notice("no report, which works on one class a film.")
        elif config.study.report:
            told = work_through(
                study,
                [[Cell("", "report")]],
                lambda _: False,
                lambda _: report_study(study, reporter=reporter),
                reporter,
            )
            report = study.report_path if told[0].state == "done" else None
            outcomes += told
        draw_efficiency(study, reporter)
        cells = cell_table(study, outcomes)
        study.write_table("cells", cells)
        study.update_info(state="incomplete" if (cells["state"] == "failed").any() else "complete")
    return StudyResult(study, headline, findings, stored_efficiency(study), cells, report)


def check_runs(study: Study, wanted: Sequence[Member]) -> None:
    """Make sure that what stands where a run is to go is that run, finished or not.

    Raises:
        RunError: a run with another configuration, or files that are not ours.
    """
    for member in wanted:
        run = Run(study.run_path(member.name))
        if not (run.path / "run.json").is_file():
            Run.check_free(run.path)
        elif told := differences(run.config, member.config):
            raise RunError(
                f"{run.path} was trained with other settings than this study's: {told}. Change the study's "
                "configuration, move that run away, or choose another --run. Nothing was changed."
            )


def _fit_together(study: Study, wanted: Sequence[Member]) -> bool:
    """Whether one process may train all runs that are not trained yet."""
    return sum(not is_trained(study, member) for member in wanted) <= MOST_TOGETHER


def _in_turn(study: Study, names: Sequence[str], jobs: int, reporter: Reporter) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with reporter.task(f"study {study.name}", len(names)) as advance:
        for name in names:
            reporter.notice(f"run {name}")
            outcomes += _work_on(study, name, reporter)
            advance(1)
    return outcomes


def _in_processes(study: Study, names: Sequence[str], jobs: int, reporter: Reporter) -> list[Outcome]:
    found: dict[str, list[Outcome]] = {}
    context = multiprocessing.get_context("spawn")
    reporter.notice("every run works in a process of its own; notices of single runs are not shown.")
    with (
        reporter.task(f"study {study.name}", len(names)) as advance,
        ProcessPoolExecutor(
            min(jobs, len(names)), mp_context=context, initializer=silence, max_tasks_per_child=1
        ) as pool,
    ):
        futures = {pool.submit(_work_in_process, str(study.path), name): name for name in names}
        for future in as_completed(futures):
            name = futures[future]
            try:
                found[name] = future.result()
            except Exception as error:
                # a process that was ended from outside takes the pool with it
                found[name] = [_lost(study, name, error)]
            for outcome in found[name]:
                if outcome.state == "failed":
                    reporter.notice(f"{outcome.cell.name} failed: {outcome.error}")
            reporter.notice(f"run {name}: done.")
            advance(1)
    return [outcome for name in names for outcome in found[name]]


def _work_in_process(path: str, name: str) -> list[Outcome]:
    return _work_on(Study(path), name, SILENT)


def _work_on(study: Study, name: str, reporter: Reporter) -> list[Outcome]:
    config = study.config
    member = next(member for member in resolved_members(config) if member.name == name)
    try:
        return run_work(study, config, member, reporter)
    except Exception as error:
        # what is wrong with the run as a whole, such as films that changed
        outcome = _lost(study, name, error)
        reporter.notice(f"{outcome.cell.name} failed: {outcome.error} The others go on.")
        return [outcome]


def _lost(study: Study, name: str, error: BaseException) -> Outcome:
    outcome = Outcome(Cell(name, "open"), "failed", True, 0.0, reason(error))
    study.note([outcome])
    return outcome
