PY := .venv/bin/python
export PYTHONHASHSEED ?= 0

.PHONY: demo setup test lint bench wheel firmware clean

demo: setup  ## a simulated recording becomes a trajectory, a robot dataset and a replay
	.venv/bin/handcap demo

setup:  ## system libraries checked, .venv made from requirements.lock (once per lock)
	@tools/setup.sh

test: lint  ## everything that must hold, pytest's summary last; installs what the firmware's tests want
	@tools/check_test_tools.sh
	$(PY) -m pytest -n 2 --dist loadfile

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright

firmware: setup  ## image for boards: firmware/build/rp2040/handcap.uf2
	@tools/check_test_tools.sh
	$(MAKE) -C firmware image

bench: setup  ## measured figures: error, honesty, time
	@set -e; for script in bench/*.py; do echo "== $$script"; $(PY) -m "bench.$$(basename "$$script" .py)"; done

wheel: setup
	$(PY) -m build --wheel --no-isolation

clean:
	rm -rf .venv build dist out demo
