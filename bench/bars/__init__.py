"""The bars gpucv is held to: the folds they are about, what is measured, and the page."""
