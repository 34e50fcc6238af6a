from __future__ import annotations

import sys
from pathlib import Path

# What bench/ holds is run from there, and no package of gpucv.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
