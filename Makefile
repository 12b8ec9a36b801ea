# Everything lives in .venv. The first two targets are all that most people need.
PORT ?= 8080
SOURCE ?= demo
DEBLURKIT = .venv/bin/deblurkit

.PHONY: run test setup setup-gpu setup-legacy check format models soak test-service test-picamera test-aarch64 budget board board-short board-deploy wheel clean

run: ## install what a board runs and restore a live picture on http://127.0.0.1:8080 (SOURCE=auto: a camera; LAN=1: for the phone)
	scripts/setup.sh floor
	$(DEBLURKIT) run --source $(SOURCE) --sink web --port $(PORT) $(if $(LAN),--lan)

test: setup ## install everything and run all tests
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

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

models: setup ## train the shipped bundle again on DATA (hours) and export it
	scripts/models.sh "$(DATA)"

soak: setup ## 100,000 frames through the whole loop: memory, threads and descriptors stay (about 10 minutes)
	.venv/bin/python -m pytest -m soak -s

test-picamera: setup ## the real picamera2: imports on Bookworm and Trixie, and libcamera's virtual camera (root)
	PYTHON=.venv/bin/python scripts/picamera/rig.sh imports-bookworm
	PYTHON=.venv/bin/python scripts/picamera/rig.sh imports-trixie
	PYTHON=.venv/bin/python scripts/picamera/rig.sh virtual

test-service: setup ## the service on systemd 252 and 257, booted in containers (root)
	scripts/service/rig.sh bookworm
	scripts/service/rig.sh trixie

test-aarch64: setup ## the device package from aarch64 wheels on emulated Cortex-A76 and A72, and the instruction budget (root)
	scripts/aarch64/rig.sh

budget: setup ## every count of instructions again, against benchmarks/instructions.json (half an hour)
	.venv/bin/python scripts/instructions/count.py --check --all

board: setup ## the virtual board: an Arm kernel, systemd, a V4L2 driver, power cuts (root)
	scripts/board/rig.sh long -s -v --durations=0

board-short: setup ## the same in its short form, as `make test` has it
	scripts/board/rig.sh short -s -v --durations=0

board-deploy: setup ## `deblurkit deploy` onto the virtual board (root)
	scripts/board/rig.sh deploy -s -v --durations=0

wheel: setup
	.venv/bin/python -m build --wheel --no-isolation

clean:
	rm -rf .venv .venv-gpu .venv-legacy build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
