"""The names that other programs may rely on, and their documentation."""

import ast
import importlib
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from functools import cached_property

import pytest

PUBLIC = {
    "dreamif_model": {
        *("FusionPipeline", "FusionResult", "StreamFuser", "TemporalConfig", "ThermalConfig"),
        *("Calibration", "VARIANTS"),
        *("PairPaths", "find_pairs", "read_gray", "read_rgb", "write_image", "read_calibration"),
        *("DreamIFError", "ImageError", "WeightsError", "DeviceError", "ConfigError"),
        "CalibrationError",
    },
    "dreamif_model.metrics": {
        *("METRICS", "Metric", "evaluate", "evaluate_all", "psnr", "average_gradient"),
        *("spatial_frequency", "qabf", "ssim", "viff", "entropy", "standard_deviation"),
        *("mutual_information", "sum_of_correlations_of_differences", "correlation_coefficient"),
        *("fusion_psnr", "nabf"),
    },
    "dreamif_ros.bag": {
        *("BagError", "PairingOptions", "RecordedPair"),
        *("make_bag", "open_data_set", "open_images", "read_pairs"),
    },
}


def is_public(name):
    return not name.startswith("_")


def documented():
    """Full name and object of every public class, function, method and property."""
    for module, names in PUBLIC.items():
        for name in sorted(names):
            item = getattr(importlib.import_module(module), name)
            if inspect.isfunction(item) or inspect.isclass(item):
                yield f"{module}.{name}", item
            if inspect.isclass(item):
                for member, value in vars(item).items():
                    value = getattr(value, "__func__", value)  # of a class method
                    if is_public(member) and (inspect.isfunction(value) or is_property(value)):
                        yield f"{module}.{name}.{member}", value


def is_property(item):
    return isinstance(item, (property, cached_property))


DOCUMENTED = dict(documented())


def section(item, title):
    """The names that a section of a docstring lists, or its text where it lists none."""
    doc = inspect.getdoc(item) or ""
    _, found, rest = doc.partition(f"\n{title}:\n")
    if not found:
        return None
    text = textwrap.dedent(rest.partition("\n\n")[0])
    return [line.partition(":")[0] for line in text.splitlines() if not line.startswith(" ")]


def raised(item):
    """Names of the errors that the object's own body raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(item)))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc)
    return {call.func.id for call in calls}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_names(module):
    assert set(importlib.import_module(module).__all__) == PUBLIC[module]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_there_is_a_docstring(name):
    item = DOCUMENTED[name]
    doc = item.__doc__ or ""
    assert doc.strip(), name
    assert doc.splitlines()[0].endswith((".", ":")), "the first line is a whole sentence"


@pytest.mark.parametrize("name", [n for n, item in DOCUMENTED.items() if inspect.isfunction(item)])
def test_a_function_documents_what_it_takes_and_gives(name):
    function = DOCUMENTED[name]
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters if p not in ("self", "cls")]
    assert (section(function, "Args") or []) == parameters
    returns = section(function, "Yields") or section(function, "Returns")
    assert bool(returns) == (signature.return_annotation not in (None, "None"))
    assert raised(function) <= set(section(function, "Raises") or [])


@pytest.mark.parametrize("name", [n for n, item in DOCUMENTED.items() if inspect.isclass(item)])
def test_a_class_documents_its_values(name):
    kind = DOCUMENTED[name]
    if is_dataclass(kind):
        assert section(kind, "Attributes") == [field.name for field in fields(kind)]
        post_init = vars(kind).get("__post_init__")
        assert not post_init or raised(post_init) <= set(section(kind, "Raises") or [])
    elif not issubclass(kind, Exception):
        assert section(kind, "Args") == list(inspect.signature(kind).parameters)


def test_the_rules_see_what_is_missing():
    def bare(path):
        raise ValueError(path)

    assert section(bare, "Args") is None
    assert raised(bare) == {"ValueError"}
