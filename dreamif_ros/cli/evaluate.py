"""``dreamif evaluate``: compare variants and baselines, on clean and degraded pairs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamif_model import ConfigError, FusionPipeline, paper
from dreamif_model.comparison import (
    BASELINES,
    CLEAN,
    TWO_STAGE,
    Condition,
    Method,
    PairScores,
    compare,
    network_method,
)
from dreamif_model.degradations.denoisers import BM3D, import_bm3d, import_scikit_image
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.device import keep_freed_memory
from dreamif_model.errors import WeightsError
from dreamif_model.image_files import PairPaths, find_pairs, write_image
from dreamif_model.model_files.checkpoints import variant_of
from dreamif_model.output_files import TABLE_MARK, write_whole
from dreamif_model.variants import AVERAGE
from dreamif_ros.cli.evaluate_tables import condition_table, paper_table
from dreamif_ros.cli.model_options import (
    add_device_option,
    add_networks_options,
    chosen_variants,
    split_label,
)
from dreamif_ros.cli.options import (
    add_force_option,
    add_lpips_option,
    check_files,
    check_outputs,
    make_folder,
)
from dreamif_ros.cli.progress import progress
from dreamif_ros.json_file import write_json
from dreamif_ros.pictures import contact_sheet

if TYPE_CHECKING:
    from dreamif_model.metrics.lpips import Lpips

# The paper's six degradations (its Tables 2 and 3), at strengths that leave the scene visible.
ALL = ("gaussian:35", "poisson:60", "speckle:0.25", "blur:2", "resize:3", "rain:0.5")
SHEET_ROWS = 4
TABLES = "tables.md"
LPIPS_TABLE = 3  # of the paper

EXAMPLES = """examples:
  dreamif evaluate --ir pairs/ir --vi pairs/vi
  dreamif evaluate --ir pairs/ir --vi pairs/vi --every 8 --variant nano --variant tiny \\
      --degrade all --out report
  dreamif evaluate --ir pairs/ir --vi pairs/vi --degrade "infrared=stripes:8 visible=rain:0.5"

  # an ablation: files with one label are seeds of one row, with mean and standard deviation
  dreamif evaluate --ir pairs/ir --vi pairs/vi --weights whole=out/a0/nano.safetensors \\
      --weights whole=out/a1/nano.safetensors --weights "no SE=out/b0/nano.safetensors"

  # the paper's tables beside what it prints
  dreamif evaluate --ir msrs/test/ir --vi msrs/test/vi --variant nano --variant tiny --paper 1 3

Each condition has a table. Metrics compare the luma of the fused image with the clean sources.
Higher is better, but AG and SF also reward noise, and a copy of one source wins VIFF: compare with
the rows visible, infrared, average and max. "PSNR clean" (dB) compares with the method's own result
on the clean pair. "nlm, max" restores both images by non-local means (tv: total variation), then
takes the brighter pixel; both need the extra `evaluate`. Formulas: dreamif_model/metrics/; the
degradations of --paper: dreamif_model/paper.py."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="fusion metrics of variants and baselines, clean and degraded",
        description="Fuse 8-bit pairs and print mean metrics; both images of a pair have one size. "
        "With --out, also write the tables and a contact sheet per condition.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--ir", type=Path, required=True, help="infrared image or folder")
    parser.add_argument("--vi", type=Path, required=True, help="visible image or folder")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="use the 1st, N+1st, … pair only; 8 is the validation split of `dreamif train`",
    )
    add_networks_options(parser)
    add_device_option(parser)
    add_condition_options(parser)
    add_paper_options(parser)
    add_lpips_option(parser)
    parser.add_argument(
        "--bm3d",
        action="store_true",
        help="restore by BM3D too: slow, and not for commercial use (extra `bm3d`)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write tables.md and contact sheets here"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all values here")
    add_force_option(parser)
    parser.set_defaults(run=run)


def add_condition_options(parser: argparse.ArgumentParser) -> None:
    """``--degrade`` and ``--seed`` for verbs that print a table for each condition."""
    parser.add_argument(
        "--degrade",
        action="append",
        default=[],
        metavar="SPEC",
        help="add a table with degraded inputs: NAME:STRENGTH[,NAME:STRENGTH...] for both cameras, "
        "or for one with infrared= or visible= before it; several parts separated by spaces; may "
        f"be given several times. all: {', '.join(ALL)}. Names and units: dreamif fuse --help",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of --degrade (default: %(default)s)"
    )


def add_paper_options(parser: argparse.ArgumentParser) -> None:
    """``--paper`` and the set that its Table 1 is for."""
    parser.add_argument(
        "--paper",
        type=int,
        nargs="*",
        choices=paper.NUMBERS,
        help="print these tables of the paper instead, all without a number: its printed figures, "
        "then the rows that run here, with its degradations",
    )
    parser.add_argument(
        "--paper-set",
        choices=paper.SETS,
        default="MSRS",
        help="set whose figures stand in its Table 1 (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    if options.every < 1:
        raise ConfigError(f"--every is {options.every}, expected 1 or more")
    if not 0 <= options.seed < 2**31:
        raise ConfigError(f"--seed is {options.seed}, expected 0 to 2^31 - 1")
    _choose_tables(options)
    _check_outputs(options)
    keep_freed_memory()
    lpips = _lpips(options)
    conditions = _conditions(options)
    pairs = find_pairs(options.ir, options.vi)[:: options.every]
    networks = _networks(options)
    methods = BASELINES | (_two_stage(options) if conditions else {})
    methods |= {key: method for key, (_, method) in networks.items()}
    results = _evaluate(pairs, methods, conditions, options, lpips)
    labels = {key: label for key, (label, _) in networks.items()}
    tables = _tables(options, conditions, results, labels)
    print("\n".join(tables), end="")
    if options.out:
        write_whole(options.out / TABLES, TABLE_MARK + "\n".join(tables))
        print(f"\ntables.md and contact sheets are in {options.out}")
    if options.json:
        write_json(options.json, _report(options, results))
    return 0


def _tables(
    options: argparse.Namespace,
    conditions: Mapping[str, Condition],
    results: Sequence[PairScores],
    labels: Mapping[str, str],
) -> list[str]:
    if options.paper is None:
        return [
            condition_table(name, [r for r in results if r.condition == name], labels)
            for name in (CLEAN, *conditions)
        ]
    count = len({result.pair for result in results})
    used = f"{count} pair{'s' if count > 1 else ''} of {options.ir} and {options.vi}"
    return [
        "Rows marked *paper* are printed in the paper, for its own test pairs; the others are of "
        f"{used}. Only Table 1 on all 361 test pairs of MSRS compares directly.\n",
        *(paper_table(n, options.paper_set, results, labels) for n in options.paper),
    ]


def _check_outputs(options: argparse.Namespace) -> None:
    weights = [path for _, path in map(split_label, options.weights)]
    inputs = [options.ir, options.vi, *weights, *(options.lpips or ())]
    check_outputs({"--json": options.json}, inputs, force=options.force)
    if options.out:
        conditions = (CLEAN, *_conditions(options))
        files = [options.out / name for name in (TABLES, *map(_sheet, conditions))]
        check_files(files, inputs, force=options.force)


def _sheet(condition: str) -> str:
    """The name of a condition's contact sheet."""
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in condition)
    return f"sheet_{name}.jpg"


def parse_conditions(texts: Sequence[str]) -> dict[str, DegradationSpec]:
    """The degradations of each ``--degrade``, by its text."""
    listed = [part for text in texts for part in (ALL if text == "all" else (text,))]
    return {text: DegradationSpec.parse(text.split() or [text]) for text in listed}


def _choose_tables(options: argparse.Namespace) -> None:
    """Replace ``--paper`` without a number by all numbers."""
    if options.paper is None:
        return
    if options.degrade:
        raise ConfigError("--paper has the degradations of the paper: leave out --degrade")
    options.paper = sorted(set(options.paper)) or list(paper.NUMBERS)


def _conditions(options: argparse.Namespace) -> Mapping[str, Condition]:
    """The degradations of ``--degrade``, or those of the paper's tables."""
    if options.paper is None:
        return parse_conditions(options.degrade)
    return paper.conditions(options.paper)


def _lpips(options: argparse.Namespace) -> Lpips | None:
    """LPIPS where it is asked for; the paper's Table 3 is left out where its package is missing."""
    asked = options.lpips is not None
    if not asked and LPIPS_TABLE not in (options.paper or ()):
        return None
    from dreamif_model.metrics.lpips import Lpips  # takes torch

    try:
        return Lpips(options.lpips or ())
    except WeightsError as error:
        if asked or options.paper == [LPIPS_TABLE]:
            raise
        print(f"without Table {LPIPS_TABLE}: {error}\n")
        options.paper.remove(LPIPS_TABLE)
        return None


def _two_stage(options: argparse.Namespace) -> dict[str, Method]:
    """The methods that restore first, if their packages are installed."""
    if options.bm3d:
        import_bm3d()
    chosen = {n: m for n, m in TWO_STAGE.items() if m.restore != BM3D or options.bm3d}
    try:
        import_scikit_image()
    except ConfigError as error:
        print(f"without the rows {' and '.join(map(repr, chosen))}: {error}\n")
        return {}
    return chosen


def _networks(options: argparse.Namespace) -> dict[str, tuple[str, Method]]:
    """Label and method of each network; several networks can have one label."""
    variants = chosen_variants(options)
    labelled = _labelled(options.weights, {*variants, *BASELINES, *TWO_STAGE})
    networks = {
        variant: (variant, network_method(FusionPipeline(variant, options.device)))
        for variant in variants
        if variant != AVERAGE  # a baseline already
    }
    for label, path in labelled:
        pipeline = FusionPipeline(variant_of(path), options.device, path)
        key = f"{label}={path}" if label in networks else label
        networks[key] = label, network_method(pipeline)
    return networks


def _labelled(texts: Sequence[str], rows: Set[str]) -> list[tuple[str, Path]]:
    """Label and file of each ``--weights``. A given label may repeat, for seeds of one row."""
    given = [split_label(text) for text in texts]
    stems = [path.stem for label, path in given if not label]
    names = Counter([*rows, *{label for label, _ in given if label}, *stems])
    for text, (label, path) in zip(texts, given, strict=True):
        if names[label or path.stem] > 1:
            raise ConfigError(
                f"--weights {text}: there is a row {label or path.stem!r} already: "
                "give --weights LABEL=FILE"
            )
    return [(label or path.stem, path) for label, path in given]


def _evaluate(
    pairs: Sequence[PairPaths],
    methods: Mapping[str, Method],
    conditions: Mapping[str, Condition],
    options: argparse.Namespace,
    lpips: Lpips | None,
) -> list[PairScores]:
    """All results, without images; these go into the contact sheets."""
    if options.out:
        make_folder("--out", options.out)
    shown = {pair.stem for pair in pairs[:: max(1, -(-len(pairs) // SHEET_ROWS))]}
    sheets: dict[str, list[dict[str, Any]]] = {}
    results = []
    for result in compare(progress(pairs, "pair"), methods, conditions, options.seed, lpips):
        if options.out and result.pair in shown:
            sheets.setdefault(result.condition, []).append(result.images)
        results.append(PairScores(result.condition, result.pair, {}, result.scores))
    for condition, rows in sheets.items():
        titles = [title for title in rows[0] if title not in ("visible", "infrared")]
        cells = [[np.dstack([row[title]] * 3) for title in titles] for row in rows]
        write_image(options.out / _sheet(condition), contact_sheet(titles, cells, 320))
    return results


def _report(options: argparse.Namespace, results: Sequence[PairScores]) -> dict[str, Any]:
    return {
        "settings": {
            "infrared": str(options.ir),
            "visible": str(options.vi),
            "every": options.every,
            "seed": options.seed,
        },
        "results": [
            {"condition": result.condition, "pair": result.pair, "scores": result.scores}
            for result in results
        ],
    }
