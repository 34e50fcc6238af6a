package steptime

import "math"

// Inputs are what an artifact's program may ask of a step. A count that is not known is NaN.
type Inputs struct {
	PrefillTokens   float64 // prompt tokens computed in the step
	DecodeTokens    float64 // output tokens computed in the step
	ScheduledTokens float64 // both
	PrefillRequests float64 // requests that compute prompt tokens
	DecodeRequests  float64 // requests that compute output tokens
	KVTokensSum     float64 // tokens in the KV cache before the step, over all its requests
	KVTokensMax     float64 // of the request that has most
	KVTokensMean    float64 // per request
}

const inputCount = 8

// InputNames are the columns of a step table that Inputs holds, in its order.
var InputNames = [inputCount]string{
	"batch.prefill_tokens", "batch.decode_tokens", "batch.scheduled_tokens",
	"batch.num_prefill_reqs", "batch.num_decode_reqs",
	"kv.tokens_sum", "kv.tokens_max", "kv.tokens_mean",
}

// row returns the inputs in the order of InputNames.
func (in *Inputs) row() [inputCount]float64 {
	return [inputCount]float64{
		in.PrefillTokens, in.DecodeTokens, in.ScheduledTokens, in.PrefillRequests,
		in.DecodeRequests, in.KVTokensSum, in.KVTokensMax, in.KVTokensMean,
	}
}

// InputsOfRow makes Inputs of numbers in the order of InputNames.
func InputsOfRow(row [inputCount]float64) Inputs {
	return Inputs{row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]}
}

// A Request is what a step's inputs need of one request in the batch.
type Request struct {
	NewTokens int64 // tokens it computes in this step
	Progress  int64 // tokens computed before: its context, and what it holds of the KV cache
	InputLen  int64 // length of its prompt
}

// InputsOf returns the inputs of the step that runs a batch. `view` reads a simulator's own
// request, so that no copy of the batch is made.
//
// A request is in prefill while its progress is below its prompt's length, and counts with
// its tokens if it has any in this step. The context counts of every request given, whether
// it has tokens or not, as it does in a recording; an empty batch has no contexts, and so
// NaN in their place.
func InputsOf[R any](batch []R, view func(R) Request) Inputs {
	var prefill, decode, prefilling, decoding, sum, longest int64
	for _, each := range batch {
		request := view(each)
		if request.Progress < request.InputLen {
			prefill += request.NewTokens
			if request.NewTokens > 0 {
				prefilling++
			}
		} else {
			decode += request.NewTokens
			if request.NewTokens > 0 {
				decoding++
			}
		}
		sum += request.Progress
		if request.Progress > longest {
			longest = request.Progress
		}
	}
	in := Inputs{
		PrefillTokens:   float64(prefill),
		DecodeTokens:    float64(decode),
		ScheduledTokens: float64(prefill + decode),
		PrefillRequests: float64(prefilling),
		DecodeRequests:  float64(decoding),
		KVTokensSum:     float64(sum),
		KVTokensMax:     float64(longest),
		KVTokensMean:    float64(sum) / float64(len(batch)),
	}
	if len(batch) == 0 {
		in.KVTokensSum, in.KVTokensMax = math.NaN(), math.NaN() // and 0/0 is NaN too
	}
	return in
}

func same(request Request) Request { return request }
