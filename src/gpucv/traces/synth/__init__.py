"""The synthetic study: sixteen simulated recordings of an LLM serving engine.

``settings`` reads what is simulated and the calibration (``experiments.toml``);
``workload`` draws requests; ``scheduler`` and ``kv_blocks`` batch them; ``gpu_time``
and ``cpu_time`` say how long steps take; ``recording`` samples one experiment's steps;
``plan`` says which recordings make up so many rows; ``write`` stores them.
"""

from gpucv.traces.synth.write import SynthReport, synthesize

__all__ = ["SynthReport", "synthesize"]
