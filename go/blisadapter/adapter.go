// Package blisadapter lets BLIS (inference-sim v0.7.10) ask an artifact for its step times.
//
// It does not import BLIS. LatencyModel is generic over the simulator's request: with
// R = *sim.Request it has the methods of sim.LatencyModel.
package blisadapter

import (
	"fmt"
	"math"
	"sync/atomic"

	"gpucv/steptime"
)

// A LatencyModel answers as BLIS's interface of that name wants it: times in us, from 1 on.
type LatencyModel[R any] struct {
	model *steptime.Model
	alpha [3]float64
	view  func(R) steptime.Request

	steps, outOfDomain, undefined atomic.Int64
}

// New makes a latency model of an artifact.
//
// `view` reads a request's NumNewTokens, ProgressIndex and prompt length. `alpha` holds the
// host's three coefficients, as in defaults.yaml: us before queueing, us per prompt token,
// us per output token.
func New[R any](
	model *steptime.Model, alpha [3]float64, view func(R) steptime.Request,
) (*LatencyModel[R], error) {
	for i, coefficient := range alpha {
		if !(coefficient >= 0) || math.IsInf(coefficient, 0) {
			return nil, fmt.Errorf("alpha[%d] is %v; it is a finite number of us, 0 or more",
				i, coefficient)
		}
	}
	return &LatencyModel[R]{model: model, alpha: alpha, view: view}, nil
}

// StepTime returns the time of the step that runs a batch, empty or not.
//
// A time that is not a number is the largest there is, as everywhere in BLIS; Counts tells
// how many there were.
func (l *LatencyModel[R]) StepTime(batch []R) int64 {
	in := steptime.InputsOf(batch, l.view)
	us, flags, err := l.model.Predict(&in)
	l.steps.Add(1)
	if flags.OutOfDomain > 0 {
		l.outOfDomain.Add(1)
	}
	if err != nil {
		l.undefined.Add(1)
		return math.MaxInt64
	}
	return us
}

// QueueingTime returns the time from a request's arrival to its place in the queue.
func (l *LatencyModel[R]) QueueingTime(request R) int64 {
	prompt := float64(l.view(request).InputLen)
	return clamped(l.alpha[0] + float64(l.alpha[1]*prompt))
}

// OutputTokenProcessingTime returns the time after a step that each output token costs.
func (l *LatencyModel[R]) OutputTokenProcessingTime() int64 { return clamped(l.alpha[2]) }

// PostDecodeFixedOverhead returns 0: no coefficient stands for it.
func (l *LatencyModel[R]) PostDecodeFixedOverhead() int64 { return 0 }

// Counts returns how many steps were asked for, how many of them lay outside what the model
// was trained on, and how many had no time.
func (l *LatencyModel[R]) Counts() (steps, outOfDomain, undefined int64) {
	return l.steps.Load(), l.outOfDomain.Load(), l.undefined.Load()
}

// clamped cuts off the fraction, as BLIS does with its coefficients.
func clamped(us float64) int64 {
	if us >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(us)
}
