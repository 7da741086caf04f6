"""Every command in the documentation is one that exists, and the quick ones are run.

Commands of ours are parsed: `dreamif`, the nodes, the launch files, `make`, scripts and the extras
of pip. Those of others are only known by their name.
"""

import argparse
import re
import shlex

import pytest
import yaml
from helpers import ROOT
from helpers.pages import PAGES, shell_lines

from dreamif_ros.cli import build_parser, main
from dreamif_ros.detection.parameters import DETECTOR_PARAMETERS
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS
from dreamif_ros.launching.arguments import COMMON, FILES
from dreamif_ros.simulation.parameters import SIMULATION_PARAMETERS

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
NODES = {
    "fusion_node": FUSION_PARAMETERS,
    "detector_node": DETECTOR_PARAMETERS,
    "pipeline_node": (*FUSION_PARAMETERS, *DETECTOR_PARAMETERS),
    "simulated_cameras": SIMULATION_PARAMETERS,
}
OF_OTHERS = (
    *("alias", "cd", "colcon", "cp", "docker", "echo", "export", "mkdir", "pipx", "rerun", "rviz2"),
    *("source", "sudo", "systemctl", "trtexec", "yolo"),
)


def words(command):
    """The words of a command line; a shell variable stands for words defined elsewhere."""
    try:
        found = shlex.split(command, comments=True)
    except ValueError:  # an apostrophe in what a command printed
        found = command.split()
    return [word for word in found if not word.startswith("$")]


# -- What may be wrong with a command: each returns that in words, or nothing.


def fault_of_dreamif(arguments):
    try:
        build_parser().parse_args(arguments)
    except SystemExit as ended:
        return "" if ended.code == 0 else "these are no arguments of dreamif"  # 0: --help
    return ""


def fault_of_parameter(table, name, text):
    rows = {row.name: row for row in table}
    if name not in rows:
        return f"there is no parameter {name}"
    rows[name].check(yaml.safe_load(text))
    return ""


def fault_of_node(node, arguments):
    if node == "dreamif":
        return fault_of_dreamif(arguments)
    if node not in NODES:
        return f"there is no node {node}"
    given = [word.partition(":=") for word in arguments if ":=" in word]
    faults = [fault_of_parameter(NODES[node], name, text) for name, _, text in given]
    return "; ".join(filter(None, faults))


def fault_of_launch(file, given):
    name = file.removesuffix(".launch.py")
    if name not in FILES:
        return f"there is no {file}"
    known = {argument.name: argument for argument in (*FILES[name], *COMMON)}
    for word in given:
        key, is_set, text = word.partition(":=")
        if word.startswith("--"):
            continue  # of ros2 launch
        if not is_set or key not in known:
            return f"{word} is no argument of {file}"
        if known[key].choices and text not in known[key].choices:
            return f"{key} does not accept {text}"
        known[key].values(text)
    return ""


def fault_of_ros2(verb, *rest):
    if verb == "launch" and rest[0] == "dreamif_ros":
        return fault_of_launch(rest[1], rest[2:])
    if verb == "run" and rest[0] == "dreamif_ros":
        return fault_of_node(rest[1], rest[2:])
    if verb == "param" and rest[1].startswith("/"):
        row = next((row for row in NODES[rest[1][1:]] if row.name == rest[2]), None)
        if row is None or (rest[0] == "set" and not row.live):
            return f"{rest[2]} is no parameter that can be set live"
    return ""


def fault_of_make(*words):
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, is_set, _ = word.partition("=")
        pattern = rf"^{name} [?:]=" if is_set else rf"^{name}:"
        if not re.search(pattern, makefile, re.MULTILINE):
            return f"make knows no {word}"
    return ""


def fault_of_script(path, *rest):
    """A script of ours; each option is in its source."""
    if path.startswith("-"):
        return ""  # python -c, python -m
    source = ROOT / path
    if not source.is_file():
        return f"there is no {path}"
    text = source.read_text()
    return ", ".join(f"{word} is unknown" for word in rest if word[:2] == "--" and word not in text)


def fault_of_pip(extras, arguments):
    asked = re.findall(r"(?:dreamif_ros|\.)\[([\w,]+)\]", " ".join(arguments))
    unknown = {extra for group in asked for extra in group.split(",")} - extras
    return f"setup.py has no extra {', '.join(sorted(unknown))}" if unknown else ""


def fault(command, extras):
    """What is wrong with one command; None if no test knows what it is."""
    found = words(command)
    while found and re.fullmatch(r"\w+=.*", found[0]):
        found = found[1:]  # NAME=value before a command
    if not found:
        return ""
    program, *rest = found
    program = program.rpartition("/.venv/bin/")[2].removeprefix(".venv/bin/")
    if program == "dreamif":
        return fault_of_dreamif(rest)
    if program in NODES:
        return fault_of_node(program, rest)
    if program == "pip":
        return fault_of_pip(extras, rest)
    if program in ("python", "python3"):
        return fault_of_script(*rest)
    if program in ("make", "ros2"):
        return {"make": fault_of_make, "ros2": fault_of_ros2}[program](*rest)
    return "" if program in (*OF_OTHERS, "pytest") else None


# -- The commands.


LINES = [
    pytest.param(part, id=f"{page.name}:{number}")
    for page in PAGES
    for number, command in shell_lines(page)
    for part in re.split(r" && (?=\w)", command)
]
WRITTEN_IN_TEXT = [
    pytest.param(command, id=f"{page.name}: {command}")
    for page in PAGES
    for command in dict.fromkeys(
        re.findall(r"`(?:\.venv/bin/)?(dreamif [a-z][^`\n]*)`", page.read_text(encoding="utf-8"))
    )
]


@pytest.fixture(scope="module")
def extras(description):
    return set(description["extras_require"])


@pytest.mark.parametrize("line", LINES)
def test_commands_are_right(line, extras):
    """Lines whose first word is no program that is known are output, formulas or YAML."""
    assert not fault(line, extras), line


def test_the_walk_finds_the_commands(extras):
    known = [line.values[0] for line in LINES if fault(line.values[0], extras) is not None]
    for program, least in (("dreamif", 60), ("ros2 launch", 8), ("ros2 run", 4), ("make", 5)):
        assert sum(line.startswith(program) for line in known) >= least


@pytest.mark.parametrize(
    "line",
    [
        "dreamif fuse --ir a --vi b --no-such-option",
        "ros2 launch dreamif_ros fusion.launch.py no_such_argument:=1",
        "ros2 launch dreamif_ros fusion.launch.py backend:=steam",
        "ros2 launch dreamif_ros missing.launch.py",
        "ros2 run dreamif_ros missing_node",
        "ros2 run dreamif_ros fusion_node --ros-args -p no.such:=1",
        "ros2 param set /fusion_node variant tiny",
        "make no-such-target",
        "python scripts/missing.py",
        "python fuzz/run.py --no-such-option",
        "pip install 'dreamif_ros[missing]'",
    ],
)
def test_wrong_commands_are_found(line, extras):
    assert fault(line, extras)


def options_of(command):
    """(the parser of the verb that a command names, the words after the verb)."""
    parser, rest = build_parser(), words(command)[1:]
    while True:
        choices = next(
            (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None
        )
        if choices is None or not rest or rest[0] not in choices:
            return parser, rest
        parser, rest = choices[rest[0]], rest[1:]


@pytest.mark.parametrize("command", WRITTEN_IN_TEXT)
def test_verbs_and_options_in_the_text_exist(command):
    """A command in a sentence may lack what is required."""
    parser, rest = options_of(command)
    assert parser.prog != "dreamif", command
    unknown = [word for word in rest if word.startswith("--")]
    assert set(unknown) <= set(parser._option_string_actions) | {"--…"}, command


def parsers(parser):
    """A parser and those of its verbs and actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from parsers(verb)


def examples():
    """Every example in a help text."""
    for parser in parsers(build_parser()):
        text = (parser.epilog or "").replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("  dreamif "):
                yield pytest.param(line.strip(), id=line.strip()[:60])


@pytest.mark.parametrize("command", list(examples()))
def test_examples_of_the_help_texts_parse(command):
    assert not fault_of_dreamif(words(command)[1:]), command


# -- Those that are run, with small files of the names that the pages use.


QUICK = (
    "dreamif fuse --ir thermal/ --vi color/ --out fused/ --dominance",
    "dreamif bag info drive.mcap",
    "dreamif bag evaluate drive.mcap --out evaluation",
    "dreamif bag evaluate drive.mcap --calibration calibration.yaml --out aligned",
    "dreamif bag make --ir thermal/ --vi color/ --rate 25 --out pairs_bag",
)


@pytest.mark.parametrize("command", QUICK)
@pytest.mark.usefixtures("folder")
def test_quick_commands_run(command, capsys):
    documented = {" ".join(words(line.values[0])) for line in LINES}
    assert command in documented
    if "evaluate" in command:
        pytest.importorskip("plotly", reason="needs plotly (extra report)")
    assert main(words(command)[1:]) == 0
    assert capsys.readouterr().out
