# `make book` and `make test` are all that a reader needs; `make help` lists the rest.

PYTHON = python3
JOBS = 2
MINUTES = 12
CHAPTERS = each
VENV = .venv
BIN = $(VENV)/bin

BOOK_READY = $(VENV)/.book-installed
TEST_READY = $(VENV)/.test-installed
FIRST_PAGE = file://$(CURDIR)/_build/html/book/intro.html

# How chapters execute outside the book: one picture in the place of a slider, no progress bars, one thread each.
QUIET = LBDL_EXPLORE=still LBDL_PROGRESS=0 OMP_NUM_THREADS=1

.PHONY: help book test minutes lab serve zip epub pdf notebooks seeds elsewhere bench gpu lock clean

help:                   ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

book: $(BOOK_READY)     ## execute what changed, build the book, print the address of its first page
	@FLAGS=-q; $(BUILD)
	@echo "The book is at $(FIRST_PAGE)"

test: $(TEST_READY)     ## everything that continuous integration runs
	@mkdir -p _build && rm -f _build/steps.txt
	@$(call STEP,style and types)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy lbdl
	$(BIN)/lint-imports
	@$(call STEP,the book)
	@FLAGS="--all -W -n --keep-going"; $(BUILD)
	@$(call STEP,tests)
	$(QUIET) $(BIN)/pytest -n $(JOBS) --dist loadscope --nbval --nbval-current-env --nbval-cell-timeout 300 \
	    --junitxml _build/tests.xml tests book
	@$(call STEP,end)
	@$(BIN)/python -m tests.house.minutes || true

minutes:                ## where the minutes of the last `make test` went, and which long test gives no reason
	$(BIN)/python -m tests.house.minutes $(FLAGS)

lab: $(BOOK_READY)      ## JupyterLab on the chapters, with live sliders
	$(BIN)/jupyter lab --notebook-dir=book --LabApp.app_settings_dir=$(CURDIR)/book/_lab \
	    --LabApp.default_url=/lab/tree/intro.md $(FLAGS)

serve: book             ## the built book at http://localhost:8000
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

zip: book               ## the built book as one file for reading without a network
	PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.pack _build/html _build/lbdl.zip

epub: book $(TEST_READY) ## the built book as EPUB 3, formulas as MathML; needs Chromium
	PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.epub _build/html _build/lbdl.epub

pdf: book $(TEST_READY) ## every chapter as PDF, A4 and a phone's page; CHAPTERS="softmax ...": these; CHAPTERS=: the whole book in one
	PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.pdf _build/html _build/pdf $(CHAPTERS)

notebooks: $(BOOK_READY) ## execute the chapters again and write their outputs into the notebooks
	$(QUIET) PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.notebooks --jobs $(JOBS)
	PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.cover

seeds: $(BOOK_READY)    ## every check of every chapter under seeds 0 to 9; goes on where it was interrupted
	$(QUIET) PYTHONPATH=book/_ext $(BIN)/python -m lbdl_book.seeds --jobs $(JOBS)

elsewhere:              ## every chapter where only the library's wheel is installed, in an empty environment
	$(PYTHON) -m tests.house.elsewhere --with torch==2.13.0 $(FLAGS)

bench: $(TEST_READY)    ## run the races on this machine and record them
	OMP_NUM_THREADS=1 $(BIN)/python -m bench --record

# Needs no environment of its own: a rented machine brings torch, and has no registry.
gpu:                    ## everything that waits for a GPU, in MINUTES=12; started again it goes on
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m tests.house.gpu --minutes $(MINUTES) $(FLAGS)

lock: $(TEST_READY)     ## pin the requirements again, from the ranges in pyproject.toml
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --extra book \
	    pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --extra book --extra test \
	    -c requirements.txt pyproject.toml -o requirements-test.txt

clean:                  ## remove the built book and the environment
	rm -rf _build $(VENV)

# When a step of `make test` begins: for the table of minutes, and for whoever reads along.
STEP = date "+%s $(1)" >> _build/steps.txt && date "+%T $(1)"

# Pages that an interrupted or failed build left behind are not trusted: its mark stands until a build succeeds.
# Results of chapters that had finished executing are kept (the extension in book/_ext checks each).
BUILD = if [ -e _build/unfinished ]; then rm -rf _build/html _build/.doctrees; fi && \
    mkdir -p _build && touch _build/unfinished && \
    $(BIN)/jupyter-book build . $$FLAGS && rm _build/unfinished

# Kernels are tested in Triton's interpreter where torch brought no Triton of its own; elsewhere than on Linux, not at all.
TRITON = triton==3.6.0; sys_platform == "linux" and platform_machine == "x86_64"

# A step's stamp is written last: interrupted, it is done again.
$(BOOK_READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

$(TEST_READY): requirements-test.txt $(BOOK_READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-test.txt
	$(BIN)/python -c 'import triton' 2>/dev/null || \
	    $(BIN)/python -m pip install --disable-pip-version-check -q --no-deps '$(TRITON)'
	touch $@
