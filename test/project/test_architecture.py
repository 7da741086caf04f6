"""What may import what, read from the sources: see the table in the README."""

import ast
import sys

import pytest
from helpers import ROOT

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
    assert {"cv2", "dreamif_model.engine"} <= imports("dreamif_model.pipeline")
    assert "dreamif_ros.codec" in imports("dreamif_ros.fusion.fusion_stream")
    assert "cv_bridge" in imports("dreamif_ros.codec.decode")  # inside a function
    assert "cv_bridge" not in imports("dreamif_ros.codec.decode", inside_functions=False)


@pytest.mark.parametrize("module", modules("dreamif_model"))
def test_the_model_knows_nothing_of_ros(module):
    of_ros = {
        name for name in tops(module) if name in ROS | {"dreamif_ros"} or name.endswith("_msgs")
    }
    assert of_ros == set()


def loads(module):
    """Top names of all that importing a module imports, by way of others of ours too."""
    found, queue = set(), [module]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        if name in SOURCES:
            queue += imports(name, inside_functions=False)
        queue += [name.rpartition(".")[0]] if "." in name else []  # its package comes first
    return {name.split(".")[0] for name in found}


def test_torch_is_loaded_only_by_what_computes_with_it():
    allowed = {
        *modules("dreamif_model.network", "dreamif_model.training"),
        "dreamif_model.backends.cuda_graph",
        "dreamif_model.backends.openvino_convert",
        "dreamif_model.backends.pytorch",
        "dreamif_model.benchmark.peers",
        "dreamif_model.model_files.checkpoints",
        "dreamif_model.tensor_images",
        "dreamif_model.benchmark.complexity",
        "dreamif_model.degradations.degrade",
        "dreamif_model.model_files.graph_export",
        "dreamif_model.model_files.released_checkpoint",
        "dreamif_model.metrics.lpips",
        "dreamif_ros.detection.judging",
        "dreamif_ros.detection.yolo",
    }
    early = {m for m in SOURCES if "torch" in {n.split(".")[0] for n in imports(m, False)}}
    assert early <= allowed


@pytest.mark.parametrize(
    "module",
    [
        *("dreamif_model", "dreamif_model.backends.openvino", "dreamif_model.backends.onnxruntime"),
        *("dreamif_model.benchmark.measure", "dreamif_ros.fusion.node"),
        *("dreamif_ros.detection.node", "dreamif_ros.cli"),
        *("dreamif_ros.cli.fuse", "dreamif_ros.cli.benchmark", "dreamif_ros.cli.bag"),
    ],
)
def test_what_fuses_on_a_cpu_loads_no_torch(module):
    assert "torch" not in loads(module)


@pytest.mark.parametrize("module", modules("dreamif_ros.launching"))
def test_launch_files_need_nothing_that_pip_installs(module):
    """``ros2 launch`` runs in the Python of the ROS installation, not in that of the nodes."""
    beside_ros = {"openvino", "rosbags", "safetensors", "simplejpeg", "torch", "tqdm"}
    assert not beside_ros & loads(module)


def test_the_walk_through_others_sees_torch():
    assert "torch" in loads("dreamif_model.benchmark.complexity")
    assert "torch" not in {n.split(".")[0] for n in imports("dreamif_model.training.watch", False)}
    assert "torch" in loads("dreamif_model.training.watch")


@pytest.mark.parametrize(
    "module", [*modules("dreamif_model.network"), "dreamif_model.training.losses"]
)
def test_networks_and_losses_are_torch_alone(module):
    known = {"torch", "dreamif_model", *sys.stdlib_module_names}
    assert tops(module) <= known


@pytest.mark.parametrize("name", ["variants", "model_files.graph_info", "errors"])
def test_tables_import_the_standard_library_only(name):
    assert tops(f"dreamif_model.{name}") - {"dreamif_model"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", ["average", "onnxruntime", "openvino", "pytorch"])
def test_backends_know_neither_each_other_nor_the_engine(name):
    ours = {n for n in imports(f"dreamif_model.backends.{name}") if n.startswith("dreamif_model")}
    helpers = {f"dreamif_model.backends.{n}" for n in ("interface", "cuda_graph", "phases")}
    helpers |= {"dreamif_model.backends.openvino_convert"} if name == "openvino" else set()
    assert {n for n in ours if n.startswith("dreamif_model.backends")} <= helpers
    assert not ours & {"dreamif_model.engine", "dreamif_model.pipeline"}


@pytest.mark.parametrize(
    "module",
    modules("dreamif_model.registration", "dreamif_model.metrics", "dreamif_model.dominance"),
)
def test_only_lpips_needs_torch_of_what_is_no_network(module):
    assert ("torch" in tops(module)) == (module == "dreamif_model.metrics.lpips")


@pytest.mark.parametrize(
    "name", ["fusion.camera_health", "node.node_statistics", "node.worker", "pairing", "stamps"]
)
def test_pure_modules_import_the_standard_library_and_the_vocabulary_only(name):
    vocabulary = {"dreamif_model.cameras", "dreamif_ros.stamps"}
    others = imports(f"dreamif_ros.{name}") - vocabulary
    assert {module.split(".")[0] for module in others} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", modules("dreamif_ros.fusion", "dreamif_ros.node"))
def test_the_fusion_node_knows_nothing_of_the_detector(module):
    assert not {name for name in imports(module) if name.startswith("dreamif_ros.detection")}


@pytest.mark.parametrize("module", modules("dreamif_ros.node"))
def test_what_every_node_is_made_of_knows_no_node(module):
    ours = {name for name in imports(module) if name.startswith("dreamif_ros.")}
    assert {name.split(".")[1] for name in ours} <= {"node", "codec", "stamps"}


@pytest.mark.parametrize(
    "name",
    [
        *("fusion.node", "fusion.fusion_stream", "fusion.partners", "fusion.fuser"),
        *("fusion.fusion_outputs", "detection.node", "detection.pipeline_node"),
        *("detection.detection_stream", "detection.detection_outputs"),
    ],
)
def test_the_node_only_translates(name):
    computing = {"torch", "cv2", "numpy"} & tops(f"dreamif_ros.{name}")
    assert computing <= {"numpy"}  # for types
    assert "numpy" not in imports(f"dreamif_ros.{name}")


def is_ros(name):
    return name in ROS or name.endswith("_msgs")


@pytest.mark.parametrize(
    "module",
    [
        *("dreamif_ros.codec.decode", "dreamif_ros.codec.compressed"),
        *("dreamif_ros.codec.message_builder", "dreamif_ros.bag"),
        *modules("dreamif_ros.evaluation"),
        *("dreamif_ros.cli.bag", "dreamif_ros.cli.calibrate"),
    ],
)
def test_images_are_decoded_and_bags_evaluated_without_ros(module):
    assert {name for name in loads(module) if is_ros(name)} == set()


def test_the_images_decoder_imports_no_ros_inside_functions():
    """But for cv_bridge, which decodes rare encodings where it is installed."""
    assert {name for name in tops("dreamif_ros.codec.decode") if is_ros(name)} == {"cv_bridge"}


@pytest.mark.parametrize("module", modules("dreamif_ros.bag"))
def test_bags_know_nothing_of_who_uses_them(module):
    users = {"evaluation", "cli", "fusion", "detection", "simulation", "view"}
    assert not {n for n in imports(module) for user in users if f"dreamif_ros.{user}" in n}


@pytest.mark.parametrize("module", modules("dreamif_ros.scene"))
def test_the_scene_needs_neither_ros_nor_torch(module):
    assert tops(module) & (ROS | {"torch", "dreamif_model"}) == set()


def test_only_some_modules_of_the_detection_know_ros():
    with_ros = {
        module
        for module in modules("dreamif_ros.detection")
        if any(name in ROS or name.endswith("_msgs") for name in tops(module))
        or "dreamif_ros.codec.ros_messages" in imports(module)
    }
    assert with_ros == {
        f"dreamif_ros.detection.{name}"
        for name in (
            *("detection_outputs", "detection_stream", "diagnostics"),
            *("node", "temperatures"),
        )
    }


@pytest.mark.parametrize(
    "library", ["ultralytics", "openvino", "onnx", "onnxruntime", "plotly", "ray", "aiohttp"]
)
def test_an_optional_library_is_imported_only_when_it_is_used(library):
    """The web server's own folder apart, which nothing else imports on loading."""
    server = set(modules("dreamif_ros.view"))
    for module in SOURCES.keys() - server:
        early = imports(module, inside_functions=False)
        assert library not in {name.split(".")[0] for name in early}, module
        assert not early & server, module


def test_only_two_modules_know_ultralytics():
    users = {module for module in SOURCES if "ultralytics" in tops(module)}
    assert users == {"dreamif_ros.detection.judging", "dreamif_ros.detection.yolo"}


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
