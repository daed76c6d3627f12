"""A study: many runs in one directory, the cells of work on them, and one resume for all. Knows no TensorFlow."""

from cxrkeras.study.cells import Cell, Outcome, work_through
from cxrkeras.study.config import StudyConfig, is_study, load_study
from cxrkeras.study.directory import Member, Study
from cxrkeras.study.results import Results

__all__ = ["Cell", "Member", "Outcome", "Results", "Study", "StudyConfig", "is_study", "load_study", "work_through"]
