# `make` lists the targets. Each one first runs tools/setup.sh, which installs what is missing and costs a second when nothing is.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build test test-long lint format slide loop demos train eval report toy check-devices core-check bench-training bench-recording crash-recording check-guard bench-serving fault-serving check-peers-data check-docker check-libfranka check-franky check-franka-ros2 clean distclean

PYTHON ?= python3
export PYTHON
export NO_COLOR := 1
export PY_COLORS := 0
export RCUTILS_COLORIZED_OUTPUT := 0

SETUP := tools/setup.sh
IN_ENV := . tools/env.sh &&
SOURCES := src tests launch $(wildcard benchmarks)
# Libraries are tested two files at a time; nodes one after another, since they are timed against a clock.
LIBRARIES := src/cdp src/cdp_franka
NODES := $(filter-out $(LIBRARIES) src/cdp_msgs,$(patsubst %/,%,$(wildcard src/*/))) tests
# Extra arguments: make test ARGS="-k guard", make slide ARGS="--episodes 50".
ARGS ?=
# Seconds of the policy's motion in make check-libfranka.
DURATION ?= 60
# Episodes of slide in make check-franky.
EPISODES ?= 5

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

build: ## Install what is missing, build the workspace
	@$(SETUP)

# `make`, not the variable: with that in its recipe `make -n test` would run it. The second part prints a thousand lines after a failure of the first.
test: ## Check style and types, then run the tests
	@$(SETUP) --test
	@status=0; make --no-print-directory lint || { echo "lint failed: see above; the tests run all the same"; status=1; }; \
	ran=0; said=$$(mktemp -d); trap 'rm -rf "$$said"' EXIT; \
	for part in "-n 2 --dist loadfile --max-worker-restart=0 $(LIBRARIES)" "$(NODES)"; do \
	  [ ! -e "$$said/part" ] || mv "$$said/part" "$$said/first"; \
	  $(IN_ENV) python -m pytest -m "not long" $$part $(ARGS) 2>&1 | tee -i "$$said/part"; code=$${PIPESTATUS[0]}; \
	  [ $$code -eq 5 ] || ran=1; [ $$code -eq 0 ] || [ $$code -eq 5 ] || status=1; \
	done; [ $$ran -eq 1 ] || status=5; \
	sed -nE '/^=+ (ERRORS|FAILURES) =+$$/,$$ p' "$$said/first" | sed '1i What failed in the first part, once more:'; exit $$status

test-long: ## Run the tests that are too long for every change
	@$(SETUP) --test
	@$(IN_ENV) python -m pytest -m long src tests $(ARGS)

lint: build ## Check style and types
	@$(IN_ENV) ruff check . && ruff format --check . && mypy src/*/cdp*/ src/cdp_ros2/lib/cdp_ros2

format: build ## Rewrite the sources in the house style
	@$(IN_ENV) ruff check --fix . && ruff format .

slide: build ## Run the slide policy on the simulated arm and report its success
	@$(IN_ENV) cdp eval models/slide --episodes 5 --seed 100000 --min-success 0.4 --out runs/slide $(ARGS)

loop: build ## Run the whole loop: demonstrate, record, collect, train, deploy
	@$(IN_ENV) python -m pytest tests/loop -s $(ARGS)

demos: build ## Record scripted demonstrations of slide in data/
	@$(IN_ENV) cdp demos --out data/slide $(ARGS)

train: build ## Train the slide policy from data/
	@$(IN_ENV) cdp train config/train/slide.yaml $(ARGS)

eval: build ## Measure the slide policy over 50 episodes
	@$(IN_ENV) cdp eval models/slide --episodes 50 --seed 100000 $(ARGS)

report: build ## Measure the contraction of the slide policy's sampler; needs data/
	@$(IN_ENV) cdp report models/slide $(ARGS)

toy: build ## Train and draw the 2-D study of contraction
	@$(IN_ENV) cdp study toy $(ARGS)

check-devices: build ## Read a virtual SpaceMouse by the real libraries and drive the arm with it; installs umockdev
	@tools/check_devices.sh $(ARGS)

core-check: build ## Hold samplers and estimators to closed forms
	@$(IN_ENV) cdp core-check $(ARGS)

bench-training: build ## Time the penalties against training without one
	@$(IN_ENV) python benchmarks/training_overhead.py $(ARGS)

check-peers-data: build ## Let robomimic's and LeRobot's own readers read our files
	@$(IN_ENV) tools/check_peers.sh $(ARGS)

check-docker: build ## Lint docker/, look every apt and rosdep name up
	@tools/check_docker.sh $(ARGS)

check-libfranka: build ## Drive a strict libfranka server: policy, reflexes, kills; DURATION=60 s
	@$(IN_ENV) DURATION=$(DURATION) tools/check_libfranka.sh $(ARGS)

check-franky: build ## Drive a simulated arm with contacts over libfranka: reflexes, a grasp, slide; EPISODES=5
	@$(IN_ENV) EPISODES=$(EPISODES) tools/check_franky.sh $(ARGS)

check-franka-ros2: build ## The same with franka_ros2 and ros2_control, where they are installed; DURATION=60 s
	@$(IN_ENV) DURATION=$(DURATION) tools/check_franka_ros2.sh $(ARGS)

bench-recording: build ## Record 3 cameras and 1 kHz, count what is lost
	@$(IN_ENV) python benchmarks/recording.py $(ARGS)

crash-recording: build ## Kill the recorder 200 times, look what is left
	@$(IN_ENV) python benchmarks/crash_recording.py $(ARGS)

check-guard: build ## Send the guard a million random and adversarial chunks
	@$(IN_ENV) python benchmarks/guard_check.py --chunks 1000000 --seed 0 $(ARGS)

bench-serving: build ## Time the policy from image to chunk, and the whole stack, beside LeRobot
	@$(IN_ENV) python benchmarks/serving.py --loop 10 $(ARGS)

fault-serving: build ## Break cameras, states and processes under a running policy
	@$(IN_ENV) python -m pytest src/cdp_policy_node/test/test_faults.py -s $(ARGS)

clean: ## Remove what was built (keeps .venv, data/ and runs/)
	rm -rf build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf .venv
