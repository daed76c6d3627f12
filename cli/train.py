"""`cxrkeras train`."""

from __future__ import annotations

import click
from cxrkeras_cli.options import Pair, data_options, finding_options
from cxrkeras_cli.output import format_option, print_table, reporter
from cxrkeras_cli.tensorflow import load_tensorflow

EPOCHS = Pair(int, "transfer learning,fine-tuning, e.g. 15,15")
RATES = Pair(float, "transfer learning,fine-tuning, e.g. 1e-3,1e-5")


@click.command()
@click.option("--config", metavar="NAME|FILE", help="A shipped configuration (see `cxrkeras config show`) or YAML.")
@data_options
@finding_options
@click.option("--drop-shared", is_flag=True, default=None, help="Drop training films of patients that are in test.")
@click.option("--resize", type=click.Choice(["squash", "pad"]), help="How a film is brought to the square input.")
@click.option("--bits", type=click.IntRange(8, 16), help="True depth of 16-bit films, e.g. 12.")
@click.option("--backbone", metavar="NAME", help="DenseNet201, InceptionV3, ResNet50V2, … or compact.")
@click.option("--weights", metavar="SOURCE", help="imagenet, random, run:NAME[@EPOCH], or a weight file.")
@click.option("--preprocessing", metavar="MODE", help="tf, torch, caffe, caffe/255, unit, none. Default: the source's.")
@click.option("--image-size", type=int, metavar="N", help="Side of the square input in pixels. Default: native.")
@click.option("--allow-coarse", is_flag=True, default=None, help="Accept a head grid under 3×3 (its scores are NaN).")
@click.option(
    "--recipe", type=click.Choice(["finetune", "linear", "convirt"]),
    help="Both stages, the first alone, or ConVIRT's fine-tuning, which fills every setting that is not given.",
)  # fmt: skip
@click.option(
    "--epochs", type=EPOCHS, metavar="TL,FT",
    help="Epochs of transfer learning and fine-tuning; 0,0 leaves the head untrained.",
)  # fmt: skip
@click.option("--checkpoint-every", type=click.IntRange(1), metavar="K", help="A checkpoint every K epochs.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Films a step.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Draws weights, order, dropout and augmentation.")
@click.option("--learning-rate", type=RATES, metavar="TL,FT", help="Adam's rate in each stage.")
@click.option(
    "--layerwise-decay", type=click.FloatRange(0, 1, min_open=True), metavar="D",
    help="Fine-tuning's rate falls by D a stride below the head, e.g. 0.8. Groups by name: layer_groups in YAML.",
)  # fmt: skip
@click.option("--weight-decay", type=click.FloatRange(0), metavar="W", help="Decoupled weight decay, e.g. 1e-6.")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="Stop after N epochs without a gain in val AUC.")
@click.option("--keep", type=click.Choice(["schedule", "best"]), help="best: only the best checkpoint and the last.")
@click.option("--augment/--no-augment", default=None, help="Rotation ±7°, shift 5 %, zoom 10 %; never a flip.")
@click.option(
    "--batch-norm", type=click.Choice(["auto", "inference", "calibrate", "train"]),
    help="BatchNorm statistics: kept, set once from training films (auto with random weights), or trained in stage 2.",
)  # fmt: skip
@click.option("--class-weights", type=click.Choice(["balanced", "none"]), help="Weight of each class in the loss.")
@click.option("--mixed-precision/--no-mixed-precision", default=None, help="float16 on a GPU, bfloat16 elsewhere.")
@click.option("--deterministic/--no-deterministic", default=None, help="Same weights bit for bit on every repeat.")
@click.option("--fraction", type=click.FloatRange(0, 1, min_open=True), metavar="F", help="Share of training patients.")
@click.option("--fraction-seed", type=click.IntRange(0), metavar="N", help="Draws the patients of --fraction.")
@click.option("--scale-val/--whole-val", default=None, help="Shrink validation as --fraction shrinks train.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N films per class and split.")
@click.option("--run", metavar="NAME|PATH", help="Name under ./artifacts, or path, of the run to make or resume.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run; repeat the command that started it.")
@click.option("--dry-run", is_flag=True, help="Say what it would take (films, forwards, disk, minutes); write nothing.")
@format_option
@click.pass_context
def train(
    ctx: click.Context, config: str | None, run: str | None, resume: bool, dry_run: bool, form: str, **settings
) -> None:
    """Train a classifier in two stages: the head, then everything.

    Without --data and --config it trains on the embedded phantom films. With --data alone, the papers' defaults:
    DenseNet201 from ImageNet at 224 px, 15 + 15 epochs, a checkpoint every 5.

    \b
    Examples:
      cxrkeras train
      cxrkeras train --data chest_xray/ --backbone ResNet50V2 --run kermany-resnet
      cxrkeras train --data chest_xray/ --backbone ResNet50V2 --run kermany-resnet --resume
      cxrkeras train --data chest_xray/ --fraction 0.01 --recipe convirt --layerwise-decay 0.8
      cxrkeras train --data CheXpert-v1.0-small/ --uncertain ones --run chexpert
    """
    load_tensorflow()
    from cxrkeras.workflow import train as work
    from cxrkeras.workflow.plan import training_plan

    show = reporter(ctx)
    if config is None and settings["data"] is None and not resume:
        show.notice("no --data and no --config: training on the embedded phantom films (configs/phantom.yaml).")
    if dry_run:
        print_table(training_plan(work.resolved_config(config, settings.pop("data"), settings), show), form)
        return
    made = work.train(config, run=run, resume=resume, reporter=show, **settings)
    from cxrkeras.workflow.runs import checkpoint_table

    print_table(checkpoint_table(made), form, title=f"{made.path}: stored checkpoints")
