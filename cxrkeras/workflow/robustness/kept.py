"""What a directory of results keeps of every arm: enough to make all tables again, and to go on where it was stopped.

Knows which tables hold it, and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import RunError
from cxrkeras.robustness.answers import ArmAnswers, TestFilms
from cxrkeras.robustness.map_measures import MAP_COLUMNS, MAP_FILM_COLUMNS
from cxrkeras.robustness.measures import predictions_table
from cxrkeras.study.results import Results
from cxrkeras.workflow.robustness.arms import Arm

ARMS, PREDICTIONS, VISIBILITY, MAPS, MAP_FILMS = "arms", "predictions", "visibility", "maps", "map_films"
_ABOUT = ("source", "arch", "mode", "seed", "fold", "confounder", "level", "kind", "p", "threshold")
ARM_COLUMNS = (*_ABOUT, "planted", "n_train", "n_carriers", "c", "run", "epoch")
_TEXT = (
    "source", "arch", "mode", "confounder", "level", "kind", "run", "image", "patient", "split", "method", "metric",
    "status",
)  # fmt: skip
Key = tuple[str, str, str, int, str]


@dataclass
class KeptArms:
    """The arms of a directory.

    Attributes:
        arms: arm by its key.
        films: the test films by confounder, with the values of a sampled one.
        visibility, maps, map_films: rows of those tables.
    """

    arms: dict[Key, Arm] = field(default_factory=dict)
    films: dict[str, TestFilms] = field(default_factory=dict)
    visibility: pd.DataFrame = field(default_factory=pd.DataFrame)
    maps: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MAP_COLUMNS)))
    map_films: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MAP_FILM_COLUMNS)))

    @classmethod
    def open(cls, results: Results) -> KeptArms:
        """What is stored; nothing where nothing was measured.

        Raises:
            RunError: a table cannot be read, or lacks the answers of an arm.
        """
        kept = cls()
        arms, predictions = (results.table(name, _TEXT) for name in (ARMS, PREDICTIONS))
        for name in (VISIBILITY, MAPS, MAP_FILMS):
            stored = results.table(name, _TEXT)
            if stored is not None:
                setattr(kept, name, stored)
        if arms is None or predictions is None:
            return kept
        answers = dict(list(predictions.groupby(_texts(predictions), sort=False)))
        for row, key in zip(arms.to_dict("records"), _texts(arms), strict=True):
            if key not in answers:
                raise RunError(
                    f"{results.tables_path(PREDICTIONS)} lacks the answers of {' '.join(key)}, which "
                    f"{results.tables_path(ARMS)} lists. Move both files away; what is missing is measured again."
                )
            kept._take(row, answers[key])
        return kept

    def save(self, results: Results) -> None:
        """Write everything; what belongs to an entry of a list comes before the list that says it is there."""
        tables = [
            predictions_table([arm.answers for arm in self.of(name)], films) for name, films in self.films.items()
        ]
        results.write_table(PREDICTIONS, pd.concat(tables, ignore_index=True))
        results.write_table(ARMS, self.table())
        for name in (VISIBILITY, MAP_FILMS, MAPS):
            if len(frame := getattr(self, name)):
                results.write_table(name, frame)

    def add(self, arm: Arm, films: TestFilms) -> None:
        """Take an arm in, in the place of an earlier one of the same key."""
        self.arms[arm_key(arm.answers)] = arm
        self.films[arm.answers.confounder] = films

    def add_maps(self, table: pd.DataFrame, films: pd.DataFrame) -> None:
        """Take rows of maps in, in the place of earlier ones of the same arms and methods."""
        self.maps, self.map_films = _replaced(self.maps, table), _replaced(self.map_films, films)

    def add_visibility(self, row: dict[str, Any]) -> None:
        """Take the visibility of a confounder in."""
        others = self.visibility
        if len(others):
            others = others[others["confounder"] != row["confounder"]]
        self.visibility = pd.concat([others, pd.DataFrame([row])], ignore_index=True)

    def answers_films(self, confounder: str, films: TestFilms) -> bool:
        """Whether what is kept of a confounder was answered to these films; so where nothing is kept."""
        before = self.films.get(confounder)
        return before is None or all(
            np.array_equal(np.asarray(getattr(before, name), dtype), np.asarray(getattr(films, name), dtype))
            for name, dtype in (("images", str), ("patients", str), ("positive", bool), ("has", object))
        )

    def of(self, confounder: str) -> list[Arm]:
        """The arms of a confounder."""
        return [arm for arm in self.arms.values() if arm.answers.confounder == confounder]

    def methods_of(self, answers: ArmAnswers) -> set[str]:
        """Methods whose maps of an arm were measured."""
        if not len(self.maps):
            return set()
        return set(self.maps["method"][_texts(self.maps) == arm_key(answers)])

    def table(self) -> pd.DataFrame:
        """`ARM_COLUMNS`, a row an arm."""
        rows = []
        for arm in self.arms.values():
            row = {name: getattr(arm.answers, name) for name in _ABOUT} | {"planted": int(arm.answers.planted)}
            rows.append(row | {name: getattr(arm, name) for name in ("n_train", "n_carriers", "c", "run", "epoch")})
        return pd.DataFrame(rows, columns=list(ARM_COLUMNS)).astype({"epoch": "Int64"})

    def _take(self, row: dict[str, Any], answers: pd.DataFrame) -> None:
        planted, carried = bool(row["planted"]), answers["artefact"].to_numpy() == 1
        plain = answers[~carried] if planted else answers
        logits = answers["logit"].to_numpy(np.float64)
        about = {name: row[name] for name in _ABOUT}
        made = ArmAnswers(
            **about, untouched=logits[~carried] if planted else logits, touched=logits[carried] if planted else None
        )
        films = TestFilms(
            images=plain["image"].to_numpy(str),
            positive=plain["positive"].to_numpy() == 1,
            patients=plain["patient"].to_numpy(str),
            has=None if planted else carried,
        )
        epoch = None if pd.isna(row["epoch"]) else int(row["epoch"])
        self.add(Arm(made, int(row["n_train"]), int(row["n_carriers"]), float(row["c"]), row["run"], epoch), films)


def arm_key(answers: ArmAnswers) -> Key:
    """What tells an arm from the others."""
    return answers.source, answers.mode, answers.confounder, str(answers.seed), _share(answers.p)


def key_of(source: str, mode: str, confounder: str, seed: int, p: float) -> Key:
    """The key of an arm that may not be there yet."""
    return source, mode, confounder, str(seed), _share(p)


def _share(p: float) -> str:
    return repr(float(p))


def _texts(frame: pd.DataFrame) -> pd.Series:
    """The key of every row."""
    columns = [frame[name] for name in ("source", "mode", "confounder", "seed", "p")]
    # few different keys, many rows: numbered first, then spelled out
    codes = pd.DataFrame({i: pd.factorize(column, use_na_sentinel=False)[0] for i, column in enumerate(columns)})
    rows = codes.drop_duplicates().index
    spelled = {
        tuple(codes.loc[row]): (*(str(c.iloc[row]) for c in columns[:3]), str(int(columns[3].iloc[row])),
                                _share(columns[4].iloc[row]))
        for row in rows
    }  # fmt: skip
    return pd.Series(
        [spelled[code] for code in codes.itertuples(index=False, name=None)], index=frame.index, dtype=object
    )


def _replaced(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    if not len(new):
        return old
    if not len(old):
        return new.reset_index(drop=True)
    ours = set(zip(_texts(new), new["method"], strict=True))
    keep = [pair not in ours for pair in zip(_texts(old), old["method"], strict=True)]
    return pd.concat([old[keep], new], ignore_index=True)
