package blisadapter

import (
	"math"
	"testing"

	"gpucv/steptime"
)

// request and latencyModel are BLIS v0.7.10's sim.Request and sim.LatencyModel, as far as
// step times are concerned.
type request struct {
	InputTokens   []int
	OutputTokens  []int
	ProgressIndex int64
	NumNewTokens  int
}

type latencyModel interface {
	StepTime(batch []*request) int64
	QueueingTime(req *request) int64
	OutputTokenProcessingTime() int64
	PostDecodeFixedOverhead() int64
}

func view(r *request) steptime.Request {
	return steptime.Request{
		NewTokens: int64(r.NumNewTokens), Progress: r.ProgressIndex, InputLen: int64(len(r.InputTokens)),
	}
}

func open(t *testing.T, name string, options ...steptime.Option) *steptime.Model {
	t.Helper()
	set, err := steptime.Load("../testdata/set")
	if err != nil {
		t.Fatal(err)
	}
	model, err := set.Model(name, options...)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestItAnswersAsTheModelDoes(t *testing.T) {
	model := open(t, "made-log")
	adapter, err := New(model, [3]float64{2247.79, 4.367, 2026.85}, view)
	if err != nil {
		t.Fatal(err)
	}
	var blis latencyModel = adapter
	batch := []*request{
		{InputTokens: make([]int, 700), ProgressIndex: 512, NumNewTokens: 188},
		{InputTokens: make([]int, 30), ProgressIndex: 41, NumNewTokens: 1},
	}
	want, _, err := model.Predict(&steptime.Inputs{
		PrefillTokens: 188, DecodeTokens: 1, ScheduledTokens: 189, PrefillRequests: 1,
		DecodeRequests: 1, KVTokensSum: 553, KVTokensMax: 512, KVTokensMean: 276.5,
	})
	if got := blis.StepTime(batch); got != want || err != nil {
		t.Error(got, want, err)
	}
	if got := blis.StepTime(nil); got < 1 {
		t.Error("an empty batch takes", got)
	}
	// 2247.79 + 4.367 * 700 = 5304.69
	if got := blis.QueueingTime(batch[0]); got != 5304 {
		t.Error("queueing takes", got)
	}
	if got := blis.OutputTokenProcessingTime(); got != 2026 {
		t.Error("an output token takes", got)
	}
	if got := blis.PostDecodeFixedOverhead(); got != 0 {
		t.Error("the overhead is", got)
	}
	steps, outside, undefined := adapter.Counts()
	if steps != 2 || outside != 1 || undefined != 0 {
		t.Error(steps, outside, undefined)
	}
}

func TestAStepWithoutATimeIsTheLargestAndCounted(t *testing.T) {
	nan := open(t, "nothing", steptime.BlackboxOnMiss([3]float64{-math.MaxFloat64, math.MaxFloat64, 0}))
	adapter, err := New(nan, [3]float64{}, view)
	if err != nil {
		t.Fatal(err)
	}
	// -MaxFloat64 + Inf is Inf, which is clamped; Inf - Inf has no value.
	far := []*request{{InputTokens: make([]int, 9), NumNewTokens: 9}}
	if got := adapter.StepTime(far); got != 1<<63-1024 {
		t.Error(got)
	}
	none := open(t, "nothing", steptime.BlackboxOnMiss([3]float64{0, math.MaxFloat64, -math.MaxFloat64}))
	adapter, _ = New(none, [3]float64{}, view)
	mixed := append(far, &request{NumNewTokens: 9})
	if got := adapter.StepTime(mixed); got != math.MaxInt64 {
		t.Error(got)
	}
	if _, _, undefined := adapter.Counts(); undefined != 1 {
		t.Error(undefined)
	}
}

func TestHostCoefficientsMustBeTimes(t *testing.T) {
	for _, alpha := range [][3]float64{{-1, 0, 0}, {0, math.NaN(), 0}, {0, 0, math.Inf(1)}} {
		if _, err := New(open(t, "made-raw"), alpha, view); err == nil {
			t.Errorf("%v was taken", alpha)
		}
	}
}

func TestStepTimeAllocatesNothing(t *testing.T) {
	adapter, err := New(open(t, "made-raw"), [3]float64{}, view)
	if err != nil {
		t.Fatal(err)
	}
	batch := []*request{{InputTokens: make([]int, 30), ProgressIndex: 41, NumNewTokens: 1}}
	if n := testing.AllocsPerRun(1000, func() { adapter.StepTime(batch) }); n >= 1 && !raceDetector {
		t.Errorf("%v allocations", n)
	}
}
