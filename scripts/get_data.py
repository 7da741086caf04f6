"""Say where the public image pairs come from, or check a folder that holds them.

    .venv/bin/python scripts/get_data.py         # what to get, from whom, under which terms
    .venv/bin/python scripts/get_data.py pairs   # which sets lie in pairs/, and whether each image
                                                 # of pairs/SET/ir has its partner in pairs/SET/vi

Nothing is downloaded: most of these sets ask you to read their terms first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from dreamif_model.errors import ImageError
from dreamif_model.image_files import find_pairs


class DataSet(NamedTuple):
    """One public set of aligned infrared and visible images; docs/data_licences.md has more."""

    name: str
    authors: str
    project: str  # on GitHub, or its title
    terms: str
    folders: tuple[str, ...]  # under which the training configurations look for it
    permissive: bool = False  # its terms expressly allow commercial use


SETS = (
    DataSet("RoadScene", "Xu et al.", "hanna-xu/RoadScene", "none given", ("roadscene",)),
    DataSet("MSRS", "Tang et al.", "Linfeng-Tang/MSRS", "none given", ("msrs",)),
    DataSet("TNO", "Toet", "TNO Image Fusion Dataset", "as its author gives", ("tno", "tno_more")),
    DataSet("VIFB", "Zhang et al.", "xingchenzhang/VIFB", "none given", ("vifb",)),
    DataSet(
        "LLVIP",
        "Jia et al.",
        "bupt-ai-cz/LLVIP",
        "research, non-commercial",
        ("llvip", "llvip_more"),
    ),
    DataSet("M3FD", "Liu et al.", "JinyuanLiu-CV/TarDAL", "none given", ("m3fd",)),
    DataSet("FMB", "Liu et al.", "JinyuanLiu-CV/SegMiF", "none given", ("fmb",)),
    DataSet(
        "Harvard AANLIB",
        "Johnson and Becker",
        "The Whole Brain Atlas",
        "as its authors give",
        ("ct_mri", "pet_mri"),
    ),
    DataSet("M3SVD", "Tang et al.", "Linfeng-Tang/M3SVD", "MIT", ("m3svd",), permissive=True),
    DataSet(
        "Drawn pairs",
        "this project",
        "scripts/drawn_pairs.py",
        "Apache-2.0",
        ("street", "leaves"),
        permissive=True,
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Print the list, or check a folder; 1 where something in it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="holds SET/ir and SET/vi")
    folder = parser.parse_args(arguments).folder
    return check(folder) if folder else show()


def show() -> int:
    """Print the sets and how to lay them out."""
    for data in SETS:
        group = "permissive" if data.permissive else "research"
        print(f"{data.name}: {data.authors}; project {data.project}; {group}, terms: {data.terms}")
        print(
            f"    put its pairs in {' and '.join(f'{name}/ir, {name}/vi' for name in data.folders)}"
        )
    print("Give both images of a pair the same name. Then run: get_data.py FOLDER")
    return 0


def check(folder: Path) -> int:
    """Print how many pairs each set has; 1 where no set is there or images lack their partner."""
    names = [name for data in SETS for name in data.folders if (folder / name).is_dir()]
    if not names:
        known = ", ".join(name for data in SETS for name in data.folders)
        print(f"{folder} holds none of the folders {known}", file=sys.stderr)
        return 1
    wrong = 0
    for name in names:
        try:
            print(f"{name}: {len(find_pairs(folder / name / 'ir', folder / name / 'vi'))} pairs")
        except ImageError as error:
            wrong = 1
            print(f"{name}: {error}", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
