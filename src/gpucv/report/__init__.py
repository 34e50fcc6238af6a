"""Findings as a Markdown file, a page, a terminal print and JSON; tables as CSV."""

from gpucv.report.csv import csv_text, read_csv
from gpucv.report.findings import render_findings
from gpucv.report.input import FoldFailure, ReportInput
from gpucv.report.page import render_page
from gpucv.report.record import render_json
from gpucv.report.terminal import print_report, render_terminal
from gpucv.report.timeline import render_timeline

__all__ = [
    "FoldFailure",
    "ReportInput",
    "csv_text",
    "print_report",
    "read_csv",
    "render_findings",
    "render_json",
    "render_page",
    "render_terminal",
    "render_timeline",
]
