"""Sphinx's settings: plain, built in, and without a network."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

metadata = ConfigParser()
metadata.read(HERE.parent / "setup.cfg", "utf-8")

project = "SDP"
author = metadata["metadata"]["author"]
project_copyright = author
version = release = metadata["metadata"]["version"]

extensions = ["settings_table"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False
highlight_language = "none"

html_theme = "alabaster"
html_theme_options = {
    "description": metadata["metadata"]["description"],
    "fixed_sidebar": True,
    "page_width": "1100px",
}
html_static_path: list[str] = []
html_copy_source = False
