"""The command line from outside: what it loads, prints, refuses, and ends with."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pandas as pd
import pytest
from cxrkeras_cli.main import COMMANDS

HEAVY = ["tensorflow", "keras", "tf_keras_vis", "pandas", "sklearn", "matplotlib", "scipy"]


HELP = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["data", "check", "--help"],
        ["data", "phantom", "--help"], ["data", "join", "--help"], ["config", "show", "--help"]]  # fmt: skip


def test_no_help_page_loads_anything_heavy():
    script = (
        "import sys\nfrom cxrkeras_cli.main import main\n"
        f"for arguments in {HELP!r}:\n"
        "    try:\n        main(arguments)\n"
        "    except SystemExit as ended:\n        assert ended.code == 0, arguments\n"
        f"    loaded = set({HEAVY!r}) & set(sys.modules)\n"
        "    assert not loaded, (arguments, loaded)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for name in COMMANDS:
        assert name in shown.stdout


def test_a_mistyped_command_or_option_is_usage_and_suggests(cx):
    code, _, err = cx("trian")
    assert code == 2
    assert "Did you mean 'train'?" in err
    code, _, err = cx("train", "--bacbone", "x")
    assert code == 2
    assert "--backbone" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["score"], 1, "no runs under"),
        (["explain", "--run", "nowhere"], 1, "no run at artifacts/nowhere"),
        (["explain", "--method", "gradcm"], 2, "Did you mean 'gradcam'?"),
        (["train", "--config", "phantm"], 2, "Did you mean 'phantom'?"),
        (["train", "--data", "nowhere"], 1, "nowhere"),
        (["train", "--config", "kermany"], 2, "names no films. Give them with --data"),
        (["train", "--epochs", "3"], 2, "15,15"),
        (["train", "--weights", "imagnet"], 1, "Did you mean 'imagenet'?"),
        (["train", "--run", ""], 2, "--run is empty"),
        (["train", "--backbone", "ResNet50V3"], 2, "Did you mean 'ResNet50V2'?"),
        (["train", "--resume"], 1, "no unfinished run"),
        (["data", "check", "nowhere"], 1, "nowhere"),
        (["score", "--maps", "x.npz"], 2, "--predictions"),
        (["score", "--maps", "x.npz", "--predictions", "y.csv", "--run", "z"], 2, "leave out --run"),
        (["score", "--maps", "x.npz", "--predictions", "y.csv"], 1, "x.npz does not exist"),
        (
            ["score", "--maps", "x.npz", "--predictions", "y.csv", "--recommend-on", "val"],
            2,
            "leave out --recommend-on",
        ),
        (["clean"], 2, "--keep"),
        (["config", "show", "nothing"], 2, "unknown configuration"),
    ],
)
def test_bad_input_is_one_line_with_the_right_exit_code_and_no_traceback(cx, arguments, code, message):
    ended, out, err = cx(*arguments)
    assert ended == code
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_configurations_print_whole(cx):
    code, out, _ = cx("config", "show", "phantom")
    assert code == 0
    assert "backbone: compact" in out
    assert "threshold: 0.7" in out


def test_phantom_and_check_agree(cx, tmp_path):
    code, out, _ = cx("data", "phantom", "--out", tmp_path / "films", "--films", "40", "--classes", "3", "--size", "64")
    assert code == 0
    assert out.strip().endswith("manifest.csv")
    code, out, _ = cx("data", "check", tmp_path / "films", "--format", "json")
    assert code == 0
    report = json.loads(out)
    assert report["ok"] is True
    assert sum(row["n_films"] for row in report["counts"]) == 40
    code, _, err = cx("data", "phantom", "--out", tmp_path / "films")
    assert code == 1
    assert "not empty" in err
    first = next((tmp_path / "films" / "images").iterdir())
    first.write_text("no film")
    code, out, _ = cx("data", "check", tmp_path / "films")
    assert code == 1
    assert first.name in out


def test_the_commands_around_a_run(cx, run_copy):
    run = run_copy.path
    code, out, _ = cx(
        "score", "--run", run, "--epoch", "4", "--method", "gradcam", "--threshold", "0.5", "--format", "csv"
    )
    assert code == 0
    table = pd.read_csv(io.StringIO(out))
    assert table["class"].tolist() == ["lobar", "normal", "macro", "micro", "min", "range"]
    assert (run / "scores" / "epoch_004.csv").exists()
    code, out, _ = cx("score", "--run", run, "--epoch", "4", "--method", "gradcam", "--threshold", "0.5")
    assert code == 0
    assert "consistent is not correct" in out
    code, out, _ = cx(
        "explain", "--run", run, "--method", "layercam", "--limit", "2", "--overlays", "1", "--format", "json"
    )
    assert code == 0
    assert json.loads(out)[0]["n_maps"] == 4
    code, out, _ = cx("evaluate", "--run", run, "--epoch", "last", "--format", "json")
    assert code == 0
    evaluation = json.loads(out)
    assert evaluation["summary"]["epoch"] == 4
    assert [row["class"] for row in evaluation["per_class"]] == ["lobar", "normal"]
    assert set(evaluation["confusion"][0]) == {"class", "predicted_lobar", "predicted_normal"}
    code, out, _ = cx("export", "--run", run, "--out", "model.keras")
    assert code == 0
    assert out.startswith("model.keras: copy")
    code, out, _ = cx("clean", "--run", run, "--keep", "last", "--format", "csv")
    assert code == 0
    assert out.count("removed") == 3
    code, _, err = cx("score", "--run", run, "--epoch", "99")
    assert code == 1
    assert "Stored: 4" in err


def test_all_checkpoints_are_compared_and_one_is_recommended(cx, run_copy):
    wanted = ("score", "--run", run_copy.path, "--method", "eigencam", "--threshold", "0.5")
    code, out, err = cx(*wanted, "--epoch", "all", "--format", "csv")
    assert code == 0
    table = pd.read_csv(io.StringIO(out))
    assert table["epoch"].tolist() == [epoch for epoch in (1, 2, 3, 4) for _ in range(6)]
    assert {"stderr", "ci_low", "ci_high"} <= set(table)
    assert "differences between checkpoints were looked at" in err
    stored = {file.stem for file in (run_copy.path / "analysis" / "test").iterdir()}
    assert stored >= {"auc", "changes", "findings", "recommendation", "sweep", "similarity", "agreement"}
    code, out, err = cx(*wanted, "--epoch", "all", "--recommend-on", "val")
    assert code == 0
    for words in ("C-Score by epoch (consistent is not correct)", "differences between checkpoints were looked at",
                  "Recommended checkpoints (chosen on val, measured on test)", "AUC", "eigencam", "macro"):  # fmt: skip
        assert words in out
    assert "analysis/test" in err
    code, _, err = cx(*wanted, "--epoch", "4", "--recommend-on", "val")
    assert code == 2
    assert "use it with --epoch all" in err


def test_one_checkpoint_is_analysed_and_said_to_be_too_few(cx, run_copy):
    for epoch in (1, 2, 3):
        run_copy.checkpoint_path(epoch).unlink()
    code, out, err = cx("score", "--run", run_copy.path, "--method", "eigencam", "--epoch", "all", "--limit", "4")
    assert code == 0, err
    assert "Fewer than 3 checkpoints: nothing could be judged" in out
    assert run_copy.analysis_path("test", "recommendation").exists()


def test_an_unknown_layer_names_the_candidates(cx, run_copy):
    code, _, err = cx("explain", "--run", run_copy.path, "--method", "gradcam", "--layer", "stride8_rleu")
    assert code == 2
    assert "stride8_relu" in err
    assert "Traceback" not in err


def test_a_run_that_cannot_be_written_says_so_before_the_work(cx, run_copy, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("cxrkeras_cli.tensorflow.load_tensorflow", lambda: None)
    code, _, err = cx("score", "--run", run_copy.path, "--method", "gradcam")
    assert code == 1
    assert "cannot write into" in err
    assert "--out DIR" in err
    assert not (run_copy.path / "maps").exists()


def test_a_dry_run_tells_and_writes_nothing(cx, phantom_folder, tmp_path):
    code, out, _ = cx(
        "train", "--data", phantom_folder, "--backbone", "compact", "--weights", "random", "--image-size", "64",
        "--epochs", "3,2", "--checkpoint-every", "2", "--dry-run", "--format", "json",
    )  # fmt: skip
    assert code == 0
    plan = {row["item"]: row["value"] for row in json.loads(out)}
    assert plan["checkpoints (epochs)"] == "2, 3, 4, 5"
    train, val, test = (int(n) for n in plan["films (train / val / test)"].split(" / "))
    assert train + val + test == 80
    assert plan["forwards"] == str(80 + 2 * val + 2 * test)
    assert plan["films through a training step"] == str(2 * train)
    assert not (tmp_path / "artifacts").exists()


def test_runs_lists_the_newest_first(cx, run_copy, tmp_path):
    import shutil

    for name, created in (("old", "2026-01-01"), ("new", "2026-02-01")):
        shutil.copytree(run_copy.path, tmp_path / "artifacts" / name)
        from cxrkeras.run import Run

        Run(tmp_path / "artifacts" / name).update_info(created=created)
    code, out, _ = cx("runs", "--format", "csv")
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["run"].tolist() == ["new", "old"]
    code, _, err = cx("explain", "--method", "gradcam", "--limit", "1", "--overlays", "0")
    assert code == 0
    assert "run: artifacts/new (the newest" in err


def test_no_column_of_a_table_vanishes_in_a_narrow_terminal(cx, run_copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = cx("score", "--run", run_copy.path, "--epoch", "4", "--method", "gradcam")
    assert code == 0
    for word in ("gradcam", "lobar", "normal", "status", "coverage", "macro", "native_grid"):
        assert word in out
    assert "…" not in out


def test_maps_from_elsewhere_are_printed_like_a_run_s(cx, tmp_path):
    import numpy as np

    np.savez(tmp_path / "maps.npz", maps=np.random.default_rng(0).random((12, 7, 7)))
    table = pd.DataFrame({"label": ["a", "b"] * 6, "probability_a": [0.9, 0.1] * 6, "probability_b": [0.1, 0.9] * 6})
    table.to_csv("predictions.csv", index=False)
    code, out, _ = cx("score", "--maps", "maps.npz", "--predictions", "predictions.csv")
    assert code == 0
    assert "consistent is not correct" in out
    assert "macro" in out
    code, out, _ = cx("score", "--maps", "maps.npz", "--predictions", "predictions.csv", "--format", "json")
    assert [row["class"] for row in json.loads(out)] == ["a", "b", "macro", "micro", "min", "range"]


def test_names_are_printed_as_they_are(cx, phantom_folder, tmp_path):
    import shutil

    odd = tmp_path / "t[/b] 100% x"
    shutil.copytree(phantom_folder, odd)
    code, out, _ = cx("data", "check", odd)
    assert code == 0
    # a title longer than its table is wrapped
    assert "t[/b]100%x" in "".join(out.split())


def test_ctrl_c_says_how_to_go_on(cx, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrkeras.workflow.runs.runs_table", stop)
    code, _, err = cx("runs")
    assert code == 1
    assert "with --resume" in err


def test_one_broken_run_spoils_no_other_command(cx, run_copy, tmp_path):
    import shutil

    for name in ("good", "broken"):
        shutil.copytree(run_copy.path, tmp_path / "artifacts" / name)
    (tmp_path / "artifacts" / "broken" / "run.json").write_text("{")
    code, out, _ = cx("runs", "--format", "csv")
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["state"].tolist() == ["complete", "unreadable"]
    code, _, err = cx("evaluate")
    assert code == 0
    assert "run: artifacts/good" in err
