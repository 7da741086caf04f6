"""What may import what, read from the sources: see the table in the README."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dreamif_model", "dreamif_ros")
ROS = {"rclpy", "ament_index_python", "launch", "launch_ros", "cv_bridge", "message_filters"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(module, inside_functions=True):
    """Full names of all that a module imports; a name that is a module of ours is kept whole."""
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree) if inside_functions else _module_level(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            ours = names & SOURCES.keys()
            found |= ours
            if len(ours) < len(names):
                found.add(base)
    return found


def _module_level(tree):
    """Nodes that run on import: not in functions, not under TYPE_CHECKING."""
    nodes = list(tree.body)
    while nodes:
        node = nodes.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes.extend(node.orelse)
            continue
        nodes.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def tops(module):
    return {name.split(".")[0] for name in imports(module)}


def modules(*prefixes):
    found = [m for m in SOURCES if any(m == p or m.startswith(f"{p}.") for p in prefixes)]
    assert found, f"no module of {prefixes}: has it moved?"
    return found


def test_the_walk_sees_imports():
    """These rules are worth nothing if the walk finds nothing."""
    assert {"torch", "dreamif_model.engine"} <= imports("dreamif_model.pipeline")
    assert "dreamif_ros.codec" in imports("dreamif_ros.fusion.fuser")
    assert "cv_bridge" in imports("dreamif_ros.codec")  # inside a function
    assert "cv_bridge" not in imports("dreamif_ros.codec", inside_functions=False)


@pytest.mark.parametrize("module", modules("dreamif_model"))
def test_the_model_knows_nothing_of_ros(module):
    of_ros = {
        name for name in tops(module) if name in ROS | {"dreamif_ros"} or name.endswith("_msgs")
    }
    assert of_ros == set()


def test_only_some_modules_of_the_model_use_opencv():
    assert {module for module in modules("dreamif_model") if "cv2" in tops(module)} == {
        "dreamif_model.degradations",  # its codec
        *(
            f"dreamif_model.registration.{name}"
            for name in ("alignment", "ascent", "clock_offset", "pyramid", "search", "warp")
        ),
        "dreamif_model.data",
        "dreamif_model.metrics.filters",
        "dreamif_model.pixel_repair",
        "dreamif_model.temporal",
        "dreamif_model.training.data",
    }


@pytest.mark.parametrize(
    "module",
    modules("dreamif_model.registration", "dreamif_model.metrics", "dreamif_model.temporal"),
)
def test_only_lpips_needs_torch_of_what_is_no_network(module):
    assert ("torch" in tops(module)) == (module == "dreamif_model.metrics.lpips")


@pytest.mark.parametrize("name", ["fusion.health", "node.statistics", "node.worker", "pairing"])
def test_pure_modules_import_the_standard_library_only(name):
    assert tops(f"dreamif_ros.{name}") - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize(
    "name",
    [
        *("fusion_node", "fusion.stream", "fusion.fuser", "fusion.outputs"),
        *("detector_node", "pipeline_node", "detection.stream", "detection.outputs"),
    ],
)
def test_the_node_only_translates(name):
    computing = {"torch", "cv2", "numpy"} & tops(f"dreamif_ros.{name}")
    assert computing <= {"numpy"}  # for types
    assert "numpy" not in imports(f"dreamif_ros.{name}")


@pytest.mark.parametrize("module", modules("dreamif_ros.scene"))
def test_the_scene_needs_neither_ros_nor_torch(module):
    assert tops(module) & (ROS | {"torch", "dreamif_model"}) == set()


def test_only_some_modules_of_the_detection_know_ros():
    with_ros = {
        module
        for module in modules("dreamif_ros.detection")
        if any(name in ROS or name.endswith("_msgs") for name in tops(module))
        or "dreamif_ros.codec" in imports(module)
    }
    assert with_ros == {
        f"dreamif_ros.detection.{name}" for name in ("frames", "messages", "outputs", "stream")
    }


@pytest.mark.parametrize("library", ["ultralytics", "openvino", "plotly", "ray", "aiohttp"])
def test_an_optional_library_is_imported_only_when_it_is_used(library):
    """The web server's own folder apart, which nothing else imports on loading."""
    server = set(modules("dreamif_ros.view"))
    for module in SOURCES.keys() - server:
        early = imports(module, inside_functions=False)
        assert library not in {name.split(".")[0] for name in early}, module
        assert not early & server, module


def test_only_two_modules_know_ultralytics():
    users = {module for module in SOURCES if "ultralytics" in tops(module)}
    assert users == {"dreamif_ros.detection.evaluation", "dreamif_ros.detection.yolo"}


def test_no_import_cycles():
    graph = {
        module: {name for name in imports(module, inside_functions=False) if name in SOURCES}
        - {module}
        for module in SOURCES
    }
    done, path = set(), []

    def visit(module):
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        path.pop()
        done.add(module)

    for module in SOURCES:
        visit(module)
