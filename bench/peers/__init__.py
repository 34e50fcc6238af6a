"""Peers of gpucv: other ways to run the very same folds, each in its best set-up.

One small file per peer. Each has functions of `(study, cores)` that train, predict and score
every fold and return one `Figures` per fold, in the study's order; `registry` lists them. A
peer is run in a process of its own: ``python -m peers NAME FOLDER --cores N``, from the folder
above this one. Only `gpucv_folds` imports gpucv, so a peer may live in an environment of its
own.
"""
