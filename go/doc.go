// Package steptime answers how long one step of an LLM serving engine takes, from a set of
// artifacts that `gpucv export` wrote: one verified XGBoost model per configuration (model,
// GPU, tensor-parallel degree).
//
// Features are no formulas of this package. They travel in the artifact as a straight-line
// program over the counts of a batch, and are run here operation by operation, so they have
// the bits the model was trained on. Trees are walked by XGBoost's float32 and missing-value
// rules and summed in its order.
//
//	set, err := steptime.Load("artifacts")
//	model, err := set.Model("llama-2-70b")
//	us, flags, err := model.PredictBatch(requests)
//
// A Model allocates nothing per prediction and may be used by many goroutines at once.
package steptime
