# %% [markdown]
# # Run a study and read its tables
#
# A study may be a file or nested dicts. This one asks whether a model of the cycle time holds
# on an LLM it has never seen, on the first steps of each recording of the embedded,
# simulated study. Run it from the repository's root.

# %%
import tempfile
from pathlib import Path

import gpucv

STUDY = {
    "name": "reading-results",
    "data": {"steps": ["data/study.parquet"], "target": "step.cycle_us"},
    "validation": {"order": "time"},
    "schemes": [
        {"name": "lomo", "hold_out": "model"},
        {"name": "random", "splitter": "KFold", "params": {"n_splits": 5, "shuffle": True}},
    ],
    "predictors": [
        {"name": "xgboost", "transform": "log", "params": {"n_estimators": 50}},
        {"name": "layered-roofline"},
    ],
}
folder = Path(tempfile.mkdtemp()) / "run"
result = gpucv.run(STUDY, out=folder, limit=100)
print(result)

# %% [markdown]
# ## The folds
#
# One row per fold. Averages are over folds, each group counting once.

# %%
columns = ["scheme", "holdout", "predictor", "n_test", "test_mape", "test_mspe", "test_wape"]
print(result.folds[columns].round(1).to_string(index=False))
means = result.folds.groupby(["scheme", "predictor"])["test_mape"].agg(["mean", "count"])
print(means.round(1))

# %% [markdown]
# ## How much the random split flatters

# %%
gap = means["mean"]["lomo"] - means["mean"]["random"]
print(gap.round(1).rename("optimism gap, points"))

# %% [markdown]
# ## Single steps
#
# Predictions are in the target's unit. Which workloads does the worst fold go wrong on?

# %%
trees = result.folds.query("scheme == 'lomo' and predictor == 'xgboost'")
worst = trees.loc[trees["test_mape"].idxmax(), "holdout"]
rows = result.predictions.query("scheme == 'lomo' and predictor == 'xgboost' and holdout == @worst")
error = (100 * (rows["predicted"] - rows["actual"]) / rows["actual"]).groupby(rows["experiment_id"])
print(worst)
print(error.describe(percentiles=[0.1, 0.5, 0.9])[["count", "10%", "50%", "90%"]].round(1))

# %% [markdown]
# ## What the model listened to, and where the run came from

# %%
ranks = result.stability.query("scheme == 'lomo'").sort_values("avg_rank")
print(ranks.head(5).to_string(index=False))
print(result.manifest["synthetic"], result.manifest["device"], result.path / "report.html")
