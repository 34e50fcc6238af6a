# %% [markdown]
# # Why a trace's own time may be the wrong target
#
# The audit judges every measured time of a table before anything is trained. Here: the embedded,
# simulated study. Run it from the repository's root.

# %%
import pandas as pd

import gpucv

audit = gpucv.audit("data/study.parquet")
for target in audit.targets:
    print(target.target, target.verdict)
    for reason in target.reasons:
        print("   ", reason)

# %% [markdown]
# ## The floor, by hand
#
# A decode step reads every weight once. Llama-2-7B has 6.6 billion weights outside its
# embedding, two bytes each; an H100 reads 3.35 TB/s.

# %%
floor_us = 6.6e9 * 2 / 3.35e12 * 1e6
steps = pd.read_parquet("data/study.parquet")
small = steps[steps["model"] == "llama-2-7b"]
below = (small["step.duration_us"] < floor_us).mean()
print(f"floor {floor_us:,.0f} us; {below:.0%} of the steps are said to be shorter")

# %% [markdown]
# ## The time from start to start
#
# `step.cycle_us` is the start of the next step minus the start of this one, where the next one
# was recorded.

# %%
small = small.sort_values(["experiment_id", "step.id"])
later = small.groupby("experiment_id")[["step.id", "step.ts_start_ns"]].shift(-1)
cycle_us = (later["step.ts_start_ns"] - small["step.ts_start_ns"]) / 1e3
cycle_us = cycle_us[later["step.id"] == small["step.id"] + 1]
print(f"{len(cycle_us):,} cycles, {(cycle_us < floor_us).mean():.1%} below the floor")
calls_us = small.loc[cycle_us.index, "step.duration_us"]
print(f"the scheduler's calls are {calls_us.sum() / cycle_us.sum():.0%} of that time")
