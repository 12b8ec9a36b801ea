# Everything is installed into .venv. The first two targets are all that most people need.
PORT ?= 8080
SOURCE ?= demo
DEBLURKIT = .venv/bin/deblurkit
# As many workers as tests/conftest.py says; a file's tests stay with one worker, since they share what they made.
MARKERS = not soak and not slow
WORKERS = -n auto --dist loadfile --no-loadscope-reorder

.PHONY: run test test-all setup setup-gpu setup-legacy check format models soak rigs rigs-long test-aarch64 test-picamera \
	test-service test-board board-deploy budget wheel clean

run: ## install what a board runs and restore a live picture on http://127.0.0.1:8080 (SOURCE=auto: a camera; LAN=1: for the phone)
	scripts/setup.sh floor
	$(DEBLURKIT) run --source $(SOURCE) --sink web --port $(PORT) $(if $(LAN),--lan)

test: setup ## install everything and run the quick tests without root and emulators; more arguments: PYTEST="-k camera"
	.venv/bin/python -m pytest $(WORKERS) -m "$(MARKERS)" $(PYTEST)

test-all: setup ## these and the slow ones, with Chromium and the servers, and the short form of every rig (root)
	scripts/install-chromium.sh
	scripts/install-servers.sh
	.venv/bin/python -m pytest $(WORKERS) $(PYTEST)
	.venv/bin/python scripts/rigs.py short

setup: ## install everything, so that .venv/bin/deblurkit has every command
	scripts/setup.sh full

setup-gpu: ## a training environment for NVIDIA GPUs (Linux, WSL2): .venv-gpu/bin/deblurkit train
	scripts/setup.sh gpu

setup-legacy: ## tflite-runtime in an environment of its own (Python 3.11): deblurkit bench --python .venv-legacy/bin/python
	scripts/setup.sh legacy

check: setup ## lint, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

models: setup ## train the shipped bundles again on DATA (hours) and export them
	scripts/models.sh "$(DATA)"

soak: setup ## 100,000 frames through the whole loop: memory, threads and descriptors must not grow (about 10 minutes)
	.venv/bin/python -m pytest -m soak -s

rigs: setup ## the rigs in their short form, two at a time (root); some of them: RIGS="board service"
	.venv/bin/python scripts/rigs.py short $(RIGS)

rigs-long: setup ## the rigs in their long form (root)
	.venv/bin/python scripts/rigs.py long $(RIGS)

test-aarch64: setup ## long form: aarch64 wheels on emulated Cortex-A76 and A72, and the instruction budget (root)
	scripts/aarch64/rig.sh long

test-picamera: setup ## the real picamera2: imports on Bookworm and Trixie, and libcamera's virtual camera (root)
	PYTHON=.venv/bin/python scripts/picamera/rig.sh all

test-service: setup ## long form: the service and deploy on systemd 252 and 257, booted in containers (root)
	scripts/service/rig.sh bookworm long
	scripts/service/rig.sh trixie long

test-board: setup ## long form: the virtual board with an Arm kernel, systemd, a V4L2 driver and power cuts (root)
	scripts/board/rig.sh long -s -v --durations=0

board-deploy: setup ## `deblurkit deploy` onto the virtual board (root)
	scripts/board/rig.sh deploy -s -v --durations=0

budget: setup ## every instruction count again, compared with benchmarks/instructions.json (half an hour)
	.venv/bin/python scripts/instructions/count.py --check --all

wheel: setup
	.venv/bin/python -m build --wheel --no-isolation

clean:
	rm -rf .venv .venv-gpu .venv-legacy build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
