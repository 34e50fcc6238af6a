"""Run `gpucv` commands, each in a fork of this process, which has imported all they need.

A fork takes milliseconds where a new process takes a second. Every line of stdin is a JSON
object: ``words`` of the command, its folder ``cwd``, what to add to the environment (``env``).
The answer is a line with the exit code, negative for a signal; what the command said is in
the file ``said`` of its folder.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import gpucv.report
from gpucv.cli.main import main

# These are written like any other file; making them takes most of a short run's time.
gpucv.report.render_page = lambda _: "<!doctype html>\n"
gpucv.report.render_findings = lambda _: "# Findings\n"
gpucv.report.render_terminal = lambda *_, **__: ""
gpucv.report.print_report = lambda *_, **__: None
# What is on the disk when the whole machine stops is not tested: no need to wait for it.
os.fsync = lambda _: None

for name in ("pandas", "pyarrow.parquet", "scipy.stats", "sklearn.model_selection", "xgboost"):
    importlib.import_module(name)
for name in ("options", "output", "progress", "report", "resume", "run"):
    importlib.import_module(f"gpucv.cli.{name}")
for name in ("cyclopts", "filelock", "rich.console", "tomli_w", "gpucv.workflow"):
    importlib.import_module(name)

for line in iter(sys.stdin.readline, ""):
    asked = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.chdir(asked["cwd"])
    os.environ.update(asked["env"])
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    main(asked["words"])
