"""The work of a study on one of its runs: training, scores, analysis, drift, validity, localization, each done once."""

from __future__ import annotations

from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.study import Cell, Member, Outcome, Study, StudyConfig, work_through
from cxrkeras.workflow.study.later import LaterWork
from cxrkeras.workflow.study.localize import LocalizeWork
from cxrkeras.workflow.study.scores import ScoreWork, scored_of
from cxrkeras.workflow.train import train


def run_work(study: Study, config: StudyConfig, member: Member, reporter: Reporter = SILENT) -> list[Outcome]:
    """Do all the work of a study on one run that is not done yet.

    Args:
        study: the study.
        config: its resolved configuration.
        member: the run, with its resolved configuration.
        reporter: told of progress and failures.

    Returns:
        An outcome a cell. Where training failed there are no others.
    """
    outcomes = work_through(
        study,
        [[Cell(member.name, "train")]],
        lambda _: is_trained(study, member),
        lambda _: _train(study, member, reporter),
        reporter,
    )
    if outcomes[0].state == "failed":
        return outcomes
    work = ScoreWork(study, config, member, reporter)
    scores = work_through(study, work.pieces(), work.is_scored, work.score, reporter)
    marked = LocalizeWork(work)
    if work.opened.several:
        reporter.notice(f"{member.name}: no analysis, drift or validity, which work on one class a film.")
        return [*outcomes, *scores, *_localized(marked, study, reporter)]
    later = LaterWork(work, scored_of(scores, work))
    analysis = work_through(study, later.analysis_pieces(), later.is_current, later.analyse, reporter)
    drift = work_through(study, later.drift_pieces(), later.is_current, later.drift, reporter)
    analysed = [outcome for outcome in analysis if outcome.state == "done"]
    pieces = later.validity_pieces() if analysed else []
    validity = work_through(study, pieces, later.is_current, later.validity, reporter)
    return [*outcomes, *scores, *analysis, *drift, *validity, *_localized(marked, study, reporter)]


def _localized(work: LocalizeWork, study: Study, reporter: Reporter) -> list[Outcome]:
    return work_through(study, work.pieces(), work.is_current, work.localize, reporter)


def is_trained(study: Study, member: Member) -> bool:
    """Whether a run is there and complete."""
    run = Run(study.run_path(member.name))
    return (run.path / "run.json").is_file() and run.state == "complete"


def _train(study: Study, member: Member, reporter: Reporter) -> None:
    path = study.run_path(member.name)
    train(member.config, run=path.absolute(), resume=(path / "run.json").is_file(), reporter=reporter)
