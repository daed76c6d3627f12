"""A study that was never trained: three methods, four checkpoints, two runs, and names that try to be markup."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxrkeras.report.contents import Contents, RunTables, Viewer, ViewerFilm, ViewerMaps, ViewerRun
from cxrkeras.report.page import Report, assemble, write_report
from cxrkeras.report.results import RobustnessTables, SourcesTables
from cxrkeras.robustness.answers import ArmAnswers, TestFilms
from cxrkeras.robustness.comparison import comparison_table
from cxrkeras.robustness.control import control_answers, control_table
from cxrkeras.robustness.measures import results_table
from cxrkeras.robustness.summaries import reliance_table
from cxrkeras.sources.agreement import agreement_scores, agreement_table, measured_aucs

HOSTILE = """<b>"x"&'</script>"""
CLASSES = ("NORMAL", HOSTILE)
METHODS = ("gradcam", "eigencam", "ms-gradcam++")
EPOCHS = (2, 4, 6, 8)
GRID = (3, 3)
N_FILMS = 6


def score_of(epoch: int, method: str) -> float:
    """The macro C-Score of the fake run; undefined for eigencam at the last checkpoint."""
    if (epoch, method) == (8, "eigencam"):
        return float("nan")
    return round(0.4 + 0.03 * epoch + 0.05 * METHODS.index(method), 3)


def scores() -> pd.DataFrame:
    rows = []
    for epoch in EPOCHS:
        for place, method in enumerate(METHODS):
            value = score_of(epoch, method)
            undefined = value != value
            shared = {
                "epoch": epoch,
                "split": "test",
                "method": method,
                "threshold": 0.7,
                "gamma": 2.0,
                "native_grid": "3x3" if place < 2 else "6x6",
            }
            for number, name in enumerate(CLASSES):
                rows.append(
                    shared
                    | {
                        "level": "class",
                        "class": name,
                        "score": value + 0.02 * number,
                        "ci_low": value - 0.05,
                        "ci_high": value + 0.07,
                        "baseline": 0.2,
                        "excess": value - 0.2,
                        "excess_stderr": 0.02,
                        "n_images": 20,
                        "n_gold": 0 if undefined else 12,
                        "n_patients": 0 if undefined else 11,
                        "coverage": 0.0 if undefined else 0.6,
                        "n_degenerate": 0,
                        "status": "empty_gold_list" if undefined else "ok",
                    }
                )
            rows.append(
                shared
                | {
                    "level": "global",
                    "class": "macro",
                    "score": value,
                    "ci_low": value - 0.04,
                    "ci_high": value + 0.04,
                    "status": "empty_gold_list" if undefined else "ok",
                }
            )
    return pd.DataFrame(rows)


def tables(name: str = "fake-run", backbone: str = "ResNet50V2") -> RunTables:
    """Everything of one fake run."""
    findings = [
        {
            "kind": kind,
            "run": name,
            "method": method,
            "class": HOSTILE,
            "checkpoint": 6,
            "outcome": outcome,
            "sentence": f"Epoch 6, class {HOSTILE}: something that a clinician can read.",
            "evidence": json.dumps({"coverage": 0.05, "best_auc": 0.91, "before": None}),
        }
        for kind, method, outcome in (
            ("class_gap", "gradcam", ""),
            ("early_warning", "gradcam", "hit"),
            ("gold_list_collapse", "", ""),
        )
    ]
    recommendation = [
        {
            "method": method,
            "checkpoint": 6 if method != "eigencam" else None,
            "status": "recommended" if method != "eigencam" else "none",
            "reason": "the only checkpoint that qualifies" if method != "eigencam" else "epoch 8: coverage below 0.5",
            "chosen_on": "test",
            "measured_on": "test",
            "note": "chosen and measured on the same films",
            "auc": 0.91 if method != "eigencam" else float("nan"),
            "min_excess": 0.3 if method != "eigencam" else float("nan"),
            "min_excess_stderr": 0.02 if method != "eigencam" else float("nan"),
            "min_coverage": 0.6 if method != "eigencam" else float("nan"),
            "macro": score_of(6, method) if method != "eigencam" else float("nan"),
        }
        for method in METHODS
    ]
    edges = np.linspace(0, 1, 6)
    similarity = [
        {
            "epoch": 6,
            "method": method,
            "class": label,
            "pairs": pairs,
            "low": low,
            "high": high,
            "share": share,
            "n_pairs": 66,
        }
        for method in METHODS
        for label in CLASSES
        for pairs, shares in (("within", (0, 0.1, 0.2, 0.4, 0.3)), ("between", (0.5, 0.3, 0.2, 0, 0)))
        for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]
    sweep = [
        {
            "epoch": 6,
            "method": method,
            "threshold": tau,
            "gamma": gamma,
            "class": label,
            "score": score_of(6, method) - 0.1 * (tau - 0.7),
            "stderr": 0.02,
            "ci_low": 0.4,
            "ci_high": 0.8,
            "n_gold": 12,
            "n_patients": 11,
            "coverage": 0.6,
            "baseline": 0.2,
            "excess": 0.3,
            "status": "ok",
        }
        for method in METHODS
        for label in CLASSES
        for tau in (0.5, 0.7, 0.9)
        for gamma in (1.0, 2.0)
    ]
    agreement = [
        {"epoch": 6, "first": one, "second": other, "n_films": 40, "n_compared": 40, "correlation": value}
        for one, other, value in (
            ("gradcam", "eigencam", 0.31),
            ("gradcam", "ms-gradcam++", 0.88),
            ("eigencam", "ms-gradcam++", float("nan")),
        )
    ]
    drift = [
        {
            "backbone": backbone,
            "seed": 0,
            "method": method,
            "class": "all",
            "metric": metric,
            "estimate": value,
            "ci_low": value - 0.05,
            "ci_high": value + 0.05,
            "n_films": 30,
            "n_patients": 28,
            "retained": 0.75,
            "n_undefined": 0,
            "status": "ok",
            "from": 4,
            "to": 8,
        }
        for method in METHODS[:2]
        for metric, value in (("displacement", 0.12), ("iou", 0.4), ("iou_chance", 0.118), ("correlation", 0.6))
    ]
    floor = {
        "method": "gradcam",
        "class": "all",
        "metric": "displacement",
        "at": "to",
        "epoch": 8,
        "drift": 0.12,
        "floor": 0.05,
        "difference": 0.07,
        "difference_low": 0.02,
        "difference_high": 0.12,
        "above": "yes",
        "status": "ok",
        "from": 4,
        "to": 8,
    }
    randomisation = [
        {
            "method": method,
            "stage": stage,
            "layers": 3,
            "correlation": value,
            "correlation_low": value - 0.1,
            "correlation_high": value + 0.1,
            "top_iou": 0.3,
            "n_films": 20,
            "n_compared": 20,
            "n_degenerate": 0,
            "verdict": "unchanged" if value >= 0.9 else "changes",
            "epoch": 6,
        }
        for method in METHODS
        for stage, value in (("head", 1.0 if method == "eigencam" else 0.5), ("everything", 0.1))
    ]
    perturbation = [
        {
            "method": method,
            "metric": metric,
            "auc": 0.6,
            "ci_low": 0.5,
            "ci_high": 0.7,
            "chance": 0.5,
            "difference": float("nan") if method == "eigencam" else 0.1,
            "difference_low": float("nan") if method == "eigencam" else 0.02,
            "difference_high": float("nan") if method == "eigencam" else 0.18,
            "n_films": 20,
            "n_patients": 20,
            "steps": 16,
            "status": "degenerate" if method == "eigencam" else "ok",
            "epoch": 6,
        }
        for method in METHODS
        for metric in ("insertion", "deletion")
    ]
    auc = [
        {"epoch": e, "stage": "", "split": "test", "auc": 0.8 + 0.02 * e - 0.03 * (e == 8), "status": "ok"}
        for e in EPOCHS
    ]
    changes = [
        {
            "method": "gradcam",
            "from_epoch": 4,
            "to_epoch": 6,
            "class": HOSTILE,
            "score_from": 0.5,
            "score_to": 0.4,
            "change": -0.1,
            "stderr": 0.02,
            "n_films": 12,
            "n_patients": 11,
            "status": "ok",
        }
    ]
    return RunTables(
        name=name,
        backbone=backbone,
        seed=0,
        classes=CLASSES,
        facts={"Run": name, "Classes": ", ".join(CLASSES)},
        history=pd.DataFrame({"epoch": range(1, 9), "stage": ["transfer_learning"] * 4 + ["fine_tuning"] * 4}),
        scores=scores(),
        auc=pd.DataFrame(auc).assign(ci_low=lambda t: t["auc"] - 0.05, ci_high=lambda t: t["auc"] + 0.03),
        changes=pd.DataFrame(changes),
        findings=pd.DataFrame(findings),
        recommendation=pd.DataFrame(recommendation),
        sweep=pd.DataFrame(sweep),
        similarity=pd.DataFrame(similarity),
        agreement=pd.DataFrame(agreement),
        drift=pd.DataFrame(drift),
        drift_floor=pd.DataFrame([floor, floor | {"metric": "iou", "above": "no"}]),
        randomisation=pd.DataFrame(randomisation),
        perturbation=pd.DataFrame(perturbation),
    )


def hot_cell(epoch: int, film: int, method: str) -> tuple[int, int]:
    """The one strong cell of a fake map: it moves by a column a checkpoint, and starts in a row of the method."""
    return METHODS.index(method), (EPOCHS.index(epoch) + film) % GRID[1]


def viewer_of(name: str = "fake-run", backbone: str = "ResNet50V2") -> ViewerRun:
    """Maps with one hot cell; eigencam is degenerate for film 0 first; ms-gradcam++ has only labels."""
    labels = np.arange(N_FILMS) % 2
    maps = []
    for epoch in EPOCHS:
        for method in METHODS:
            for target, class_name in enumerate(CLASSES):
                own = labels == target
                films = np.flatnonzero(own) if method == "ms-gradcam++" else np.arange(N_FILMS)
                values = np.zeros((len(films), *GRID), np.float32)
                for row, film in enumerate(films):
                    values[(row, *hot_cell(epoch, film, method))] = 5.0
                if (method, epoch) == ("eigencam", 2):
                    values[films == 0] = 1.0
                maps.append(ViewerMaps(epoch, method, class_name, films, values, np.array(["ok"] * len(films))))
    probabilities = np.zeros((len(EPOCHS), N_FILMS, 2))
    for place in range(len(EPOCHS)):
        right = np.full(N_FILMS, 0.6 + 0.1 * place)
        right[1] = 0.2
        probabilities[place, np.arange(N_FILMS), labels] = right
        probabilities[place, np.arange(N_FILMS), 1 - labels] = 1 - right
    stages = ("transfer_learning",) * 2 + ("fine_tuning",) * 2
    return ViewerRun(name, backbone, 0, EPOCHS, stages, probabilities, tuple(maps), 0.7)


@pytest.fixture(scope="session")
def fake_run() -> Contents:
    """A whole report of one run."""
    return Contents(
        title=f"ResNet50V2 on {HOSTILE}",
        kind="run",
        name="fake-run",
        split="test",
        runs=(tables(),),
        viewer=Viewer(fake_films(), CLASSES, METHODS, (viewer_of(),)),
        facts={"Data": HOSTILE, "Split": "test: 40 films"},
    )


@pytest.fixture(scope="session")
def fake_study() -> Contents:
    """Two backbones, of which only scores and drift were measured."""
    reversals = pd.DataFrame(
        {
            "metric": ["displacement"],
            "class": ["all"],
            "compared": ["methods"],
            "first": ["gradcam"],
            "second": ["eigencam"],
            "within_a": ["ResNet50V2"],
            "within_b": ["DenseNet201"],
            "difference_a": [0.1],
            "low_a": [0.05],
            "high_a": [0.15],
            "difference_b": [-0.1],
            "low_b": [-0.15],
            "high_b": [-0.05],
            "reversed": ["yes"],
            "status": ["ok"],
        }
    )
    whole = (tables(), tables("other-run", "DenseNet201"))
    few = [RunTables(o.name, o.backbone, 0, CLASSES, o.facts, o.history, o.scores, drift=o.drift) for o in whole]
    return Contents(
        title="A study of two backbones",
        kind="study",
        name="fake-study",
        split="test",
        runs=tuple(few),
        reversals=reversals,
        viewer=Viewer(fake_films(), CLASSES, METHODS, (viewer_of(), viewer_of("other-run", "DenseNet201"))),
        facts={"Data": "fake"},
    )


def fake_films() -> tuple[ViewerFilm, ...]:
    shade = np.tile(np.linspace(40, 200, 96, dtype=np.float32), (64, 1))
    return tuple(ViewerFilm(f"{HOSTILE}{film}.png", CLASSES[film % 2], shade) for film in range(N_FILMS))


@pytest.fixture(scope="session")
def run_report(fake_run) -> Report:
    """The fake run's sections."""
    return assemble(fake_run)


@pytest.fixture(scope="session")
def study_report(fake_study) -> Report:
    """The fake study's sections."""
    return assemble(fake_study)


@pytest.fixture(scope="session")
def run_page(run_report, tmp_path_factory) -> Path:
    """The written report of the fake run; its figures and tables are in `report` beside it."""
    folder = tmp_path_factory.mktemp("run-report")
    return write_report(run_report, folder / "report.html", folder / "report")


@pytest.fixture(scope="session")
def study_page(study_report, tmp_path_factory) -> Path:
    """The written report of the fake study."""
    folder = tmp_path_factory.mktemp("study-report")
    return write_report(study_report, folder / "report.html", folder / "report")


LEANS = {"imagenet": 4.0, "random": 0.5}
SHARES = (0.0, 0.5, 1.0)


@pytest.fixture(scope="session")
def fake_robustness() -> RobustnessTables:
    """Two sources under a tag and a sampled column: imagenet leans on both, random hardly; two seeds."""
    rng = np.random.default_rng(0)
    films = TestFilms(
        [f"{i}.png" for i in range(120)], np.arange(120) % 3 == 0, np.arange(120) // 2, np.arange(120) % 4 < 2
    )
    found: dict[str, list[pd.DataFrame]] = {"results": [], "reliance": [], "comparisons": []}
    for name, level, kind, planted in (
        ("tag", "environment", "external", True),
        ("column:sex=F", "patient", "demographic", False),
    ):
        about = {"arch": "compact", "mode": "probe", "confounder": name, "level": level, "kind": kind}
        answers = []
        for source, lean in LEANS.items():
            for seed in range(2):
                base = 1.2 * films.positive + rng.normal(size=120)
                for p in SHARES:
                    own = base + (0 if planted else lean * p * films.has)
                    touched = base + lean * p if planted else None
                    answers.append(
                        ArmAnswers(
                            source=source, seed=seed, fold=seed, p=p, threshold=0.5, untouched=own, touched=touched,
                            **about,
                        )
                    )  # fmt: skip
        control = control_answers(
            films, SimpleNamespace(name=name, level=level, kind=kind, planted=planted), SHARES, (0,)
        )
        found["results"].append(results_table([*answers, *control], films, n_resamples=50))
        found["reliance"].append(reliance_table(answers, films, n_resamples=50))
        found["comparisons"].append(comparison_table(answers, films, n_resamples=50))
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}
    visibility = [
        {"confounder": "tag", "level": "environment", "kind": "external", "rms": 0.05, "area": 0.004, "n_films": 64,
         "status": "invisible", "image_size": 64},
        {"confounder": "column:sex=F", "level": "patient", "kind": "demographic", "rms": np.nan, "area": np.nan,
         "n_films": 0, "status": "no_pixels_changed", "image_size": 64},
    ]  # fmt: skip
    return RobustnessTables(
        name="shortcuts",
        facts={"Results": "shortcuts"},
        control=control_table(tables["results"]),
        visibility=pd.DataFrame(visibility),
        maps=_robustness_maps(),
        hidden=_hidden(tables["reliance"]),
        **tables,
    )


def _robustness_maps() -> pd.DataFrame:
    """Layercam finds the tag once it has been learnt, eigencam does not; a mass has the tag's area as chance."""
    rows = []
    for seed in range(2):
        for p in SHARES:
            for method, drawn in (("layercam", 0.4), ("eigencam", 0.0)):
                shared = {
                    "source": "imagenet", "arch": "compact", "mode": "probe", "seed": seed, "confounder": "tag", "p": p,
                    "method": method, "n": 40, "n_patients": 38, "n_degenerate": 0, "status": "ok",
                }  # fmt: skip
                gain = drawn * p
                for split in ("aligned", "reversed"):
                    for metric, value, chance in (("mass", gain + 0.01, 0.01), ("mass_gain", gain, 0.0)):
                        rows.append(
                            shared | {"split": split, "metric": metric, "value": value, "chance": chance}
                            | {"ci_lo": value - 0.02, "ci_hi": value + 0.02}
                        )  # fmt: skip
                score = {"split": "iid", "metric": "c_score", "value": 0.5 + 0.1 * p, "chance": np.nan}
                rows.append(shared | score | {"ci_lo": 0.4, "ci_hi": 0.7})
    return pd.DataFrame(rows)


def _hidden(reliance: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in reliance[(reliance["confounder"] == "tag") & (reliance["p"] > 0)].to_dict("records"):
        about = {name: row[name] for name in ("source", "arch", "mode", "confounder", "p", "reliance")}
        leans = row["source"] == "imagenet"
        for method in ("layercam", "eigencam"):
            shown = leans and method == "layercam"
            gain = 0.4 * row["p"] * shown
            rows.append(
                about | {"method": method, "n_seeds": 2, "auc_iid": 0.95, "auc_iid_change": 0.1}
                | {"auc_iid_change_lo": 0.05, "auc_iid_change_hi": 0.15, "auc_reversed_change": -0.5}
                | {"reliance_lo": row["ci_lo"], "mass_gain": gain, "ci_lo": gain - 0.02, "ci_hi": gain + 0.02}
                | {"chance": 0.01, "ceiling": 0.3, "n": 120, "n_patients": 60, "visible": "yes" if shown else "no"}
                | {"hidden_from_auc": "yes" if leans else "no", "status": "ok"}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def fake_sources() -> SourcesTables:
    """Three candidates of two nets and the raw pixels; the first two are tied, the third has seen the films."""
    names = ("imagenet", HOSTILE, "seen", "raw-pixels")
    frame = pd.DataFrame(
        {
            "candidate": names, "arch": ["ResNet50V2", "ResNet50V2", "compact", ""],
            "weights": ["imagenet", "FILE.h5", "run:seen", ""], "sha256": ["a", "b", "c", ""],
            "preprocess": ["tf", "caffe/255", "none", ""], "image_size": [128, 128, 64, 48],
            "n_features": [2048, 2048, 64, 2304], "n_films": 300, "n_patients": 280, "n_duplicates": 0,
            "probe_auc": [0.91, 0.9, 0.97, 0.7], "ci_lo": [0.88, 0.86, 0.95, 0.64], "ci_hi": [0.94, 0.93, 0.99, 0.76],
            "rank": [1, 2, np.nan, np.nan], "rank_lo": [1, 1, np.nan, np.nan], "rank_hi": [2, 2, np.nan, np.nan],
            "tied_with": [HOSTILE, "imagenet", "", ""], "difference_to_best": [0, -0.01, np.nan, np.nan],
            "difference_lo": [0, -0.03, np.nan, np.nan], "difference_hi": [0, 0.01, np.nan, np.nan],
            "logme": [-0.4, np.nan, -0.3, np.nan], "logme_se": [0.02, np.nan, 0.03, np.nan],
            "h_score": [0.5, 0.45, 0.6, np.nan], "h_score_se": [0.05, 0.04, 0.06, np.nan], "prior": [1, 3, 3, np.nan],
            "visual_distance": [np.nan, 0.12, np.nan, np.nan], "semantic_similarity": [0.25, np.nan, 1.0, np.nan],
            "kid": np.nan, "kid_sd": np.nan, "kid_extractor": "unavailable", "saw_target": ["no", "unknown", "yes", ""],
            "tag_reversed_auc": [0.3, 0.6, 0.5, np.nan], "lowpass_reversed_auc": [0.7, 0.8, 0.75, np.nan],
            "unknown_fields": [3, 9, 0, np.nan],
            "status": ["ok", "unbounded_evidence", "excluded_saw_target", "floor"],
        }
    )  # fmt: skip
    cka = pd.DataFrame(
        {"first": ["imagenet", "imagenet", HOSTILE], "second": [HOSTILE, "seen", "seen"], "cka": [0.9, 0.2, 0.3]}
    )
    cards = pd.DataFrame(
        [
            {"candidate": name, "field": field, "value": "unknown" if (name, field) == (HOSTILE, "licence") else "CXR"}
            for name in names[:3]
            for field in ("modality", "licence")
        ]
    )
    measured = measured_aucs(pd.DataFrame({"candidate": names[:3], "auc": [0.9, 0.92, 0.91]}), frame["candidate"])
    scores = agreement_scores(frame, measured)
    return SourcesTables(
        name="weights", facts={"Results": "weights"}, sources=frame, cka=cka, cards=cards,
        agreement=agreement_table(scores), agreement_scores=scores,
    )  # fmt: skip
