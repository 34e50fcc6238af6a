package steptime

import (
	"math"
	"math/rand"
	"strings"
	"sync"
	"testing"
)

const handmade = "testdata/set"

func loaded(tb testing.TB) *Set {
	tb.Helper()
	set, err := Load(handmade)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func TestGoldenRowsAgreeWithPython(t *testing.T) {
	set := loaded(t)
	for _, entry := range set.Entries() {
		rows, err := set.Verify(entry.ID)
		if err != nil {
			t.Error(err)
		}
		if rows < 100 {
			t.Errorf("%s: only %d golden rows", entry.ID, rows)
		}
	}
}

func TestModelsAreFoundByIDAndAliasInAnyCase(t *testing.T) {
	set := loaded(t)
	for _, name := range []string{"made-log", " MADE-LOG ", "made-log/h100/tp1", "org/made-log"} {
		model, err := set.Model(name)
		if err != nil {
			t.Fatal(err)
		}
		if model.Entry().ID != "made-log/h100/tp1" {
			t.Errorf("%q gave %q", name, model.Entry().ID)
		}
	}
}

func TestAMissNamesTheNearestModelAndLists(t *testing.T) {
	set := loaded(t)
	_, err := set.Model("made-lag")
	for _, part := range []string{`did you mean "made-log"?`, "made-log/h100/tp1", "made-raw/h100/tp1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	if _, err = set.Model("zzzzzzzzzzzz"); err == nil || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("a name like none gave %v", err)
	}
}

func TestAModelInSeveralConfigurationsListsThem(t *testing.T) {
	set := loaded(t)
	set.names = map[string]int{"made-log/h100/tp1": 0, "made-raw/h100/tp1": 1}
	_, err := set.Model("made-raw")
	if err == nil || !strings.Contains(err.Error(), "ask for one of made-raw/h100/tp1") {
		t.Error(err)
	}
}

func TestBlackboxAnswersOnlyWhereAsked(t *testing.T) {
	set := loaded(t)
	line, err := set.Model("unheard-of", BlackboxOnMiss([3]float64{10, 2, 3}))
	if err != nil {
		t.Fatal(err)
	}
	in := Inputs{PrefillTokens: 100, DecodeTokens: 7}
	us, flags, err := line.Predict(&in)
	if us != 231 || !flags.Blackbox || err != nil {
		t.Error(us, flags, err)
	}
	if _, err := set.Model("unheard-of", BlackboxOnMiss([3]float64{math.NaN()})); err == nil {
		t.Error("NaN coefficients were taken")
	}

	far := Inputs{PrefillTokens: 1e6, DecodeTokens: 10, ScheduledTokens: 1e6 + 10}
	trees, _ := set.Model("made-raw")
	fallback, err := set.Model("made-raw", BlackboxOutOfDomain())
	if err != nil {
		t.Fatal(err)
	}
	if _, flags, _ = trees.Predict(&far); flags.Blackbox || flags.OutOfDomain == 0 {
		t.Error("trees:", flags)
	}
	us, flags, _ = fallback.Predict(&far)
	if us != 3000+2*1e6+40*10 || !flags.Blackbox {
		t.Error(us, flags)
	}
	near := Inputs{PrefillTokens: 10, DecodeTokens: 2, ScheduledTokens: 12}
	want, _, _ := trees.Predict(&near)
	if us, flags, _ = fallback.Predict(&near); us != want || flags.Blackbox || flags.OutOfDomain != 0 {
		t.Error(us, want, flags)
	}
}

func TestFlagsCountMissingAndUnseenFeatures(t *testing.T) {
	model, err := loaded(t).Model("made-raw")
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	in := InputsOfRow([inputCount]float64{5000, 1, 5001, 1, 1, nan, nan, nan})
	_, flags := model.Value(&in)
	// Without contexts blend, least, direction, context and rounded are undefined, and least
	// is 0 then. Of 5000 prefill tokens the prefill feature alone is beyond 2000.
	if flags.Missing != 4 || flags.OutOfDomain != 1 {
		t.Errorf("%+v", flags)
	}
	for i := range model.features {
		model.features[i].missing = false
	}
	if _, flags = model.Value(&in); flags.OutOfDomain != 5 {
		t.Errorf("missing where training had none: %+v", flags)
	}
}

func TestAStepWithoutATimeIsAnError(t *testing.T) {
	model, err := loaded(t).Model("made-log")
	if err != nil {
		t.Fatal(err)
	}
	model.smearing = math.NaN()
	if us, _, err := model.Predict(&Inputs{}); err != ErrUndefined || us != 0 {
		t.Error(us, err)
	}
}

func TestTimesAreRoundedHalfToEvenAndClamped(t *testing.T) {
	for value, want := range map[float64]int64{
		-7: 1, 0: 1, 0.4: 1, 1.5: 2, 2.5: 2, 3.5: 4, 1e300: 1<<63 - 1024,
		math.Inf(1): 1<<63 - 1024, math.Inf(-1): 1, 9007199254740993: 9007199254740992,
	} {
		if got := wholeMicroseconds(value); got != want {
			t.Errorf("%v gave %d, not %d", value, got, want)
		}
	}
}

func TestInputsOfABatchFollowTheRequests(t *testing.T) {
	got := InputsOf([]Request{
		{NewTokens: 512, Progress: 0, InputLen: 700},   // first chunk of a prompt
		{NewTokens: 188, Progress: 512, InputLen: 700}, // its second
		{NewTokens: 1, Progress: 300, InputLen: 300},   // first output
		{NewTokens: 0, Progress: 40, InputLen: 30},     // waits in this step, holds its context
	}, same)
	want := Inputs{700, 1, 701, 2, 1, 852, 512, 213}
	if got != want {
		t.Errorf("%+v", got)
	}
	empty := InputsOf(nil, same)
	if empty.ScheduledTokens != 0 || empty.DecodeRequests != 0 || !math.IsNaN(empty.KVTokensSum) ||
		!math.IsNaN(empty.KVTokensMax) || !math.IsNaN(empty.KVTokensMean) {
		t.Errorf("%+v", empty)
	}
}

func TestPredictionsAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector drops pooled memory on purpose")
	}
	model := madeModel(t, 20, 4)
	in, batch := steps(2)[1], []Request{{1, 600, 512}, {64, 0, 512}}
	if n := testing.AllocsPerRun(1000, func() { _, _, _ = model.Predict(&in) }); n != 0 {
		t.Errorf("Predict allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _, _ = model.PredictBatch(batch) }); n != 0 {
		t.Errorf("PredictBatch allocates %v times", n)
	}
}

func TestOneModelAnswersManyGoroutinesAlike(t *testing.T) {
	model, all := madeModel(t, 50, 5), steps(200)
	want := make([]int64, len(all))
	for i := range all {
		want[i], _, _ = model.Predict(&all[i])
	}
	var waiting sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		waiting.Add(1)
		go func(seed int64) {
			defer waiting.Done()
			random := rand.New(rand.NewSource(seed))
			for n := 0; n < 2000; n++ {
				i := random.Intn(len(all))
				if us, _, err := model.Predict(&all[i]); us != want[i] || err != nil {
					t.Errorf("step %d: %d us, not %d (%v)", i, us, want[i], err)
					return
				}
			}
		}(int64(worker))
	}
	waiting.Wait()
}

func TestMarginRefusesAnotherNumberOfFeatures(t *testing.T) {
	model := madeModel(t, 1, 1)
	if _, err := model.Margin(make([]float32, 29)); err == nil {
		t.Error("29 features of 30 were taken")
	}
}

func TestExactExpIsWithinOneUnitOfTheLastPlace(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	for n := 0; n < 200_000; n++ {
		x := (random.Float64() - 0.5) * 40
		got, want := exactExp(x), math.Exp(x)
		if unit := math.Nextafter(want, math.Inf(1)) - want; math.Abs(got-want) > 2*unit {
			t.Fatalf("exp(%v) is %v, not %v", x, got, want)
		}
	}
	for x, want := range map[float64]float64{
		0: 1, math.Inf(1): math.Inf(1), math.Inf(-1): 0, 710: math.Inf(1), -746: 0,
		709.782712893384: 0x1.fffffffffff2ap+1023, -745.13: 5e-324,
	} {
		if got := exactExp(x); got != want {
			t.Errorf("exp(%v) is %v (%[2]x), not %v", x, got, want)
		}
	}
	if x := exactExp(math.NaN()); x == x {
		t.Error("exp(NaN) is", x)
	}
}

func TestOrderedKeepsTheOrderOfFloats(t *testing.T) {
	inf := float32(math.Inf(1))
	tiny, huge := float32(math.SmallestNonzeroFloat32), float32(math.MaxFloat32)
	rising := []float32{-inf, -huge, -1, -tiny, 0, tiny, 1, huge, inf}
	for i := range rising {
		if key := ordered(rising[i]); key == math.MinInt32 || key == math.MaxInt32 {
			t.Errorf("%v has the key %d of a missing value", rising[i], key)
		}
		for j := range rising {
			if (rising[i] < rising[j]) != (ordered(rising[i]) < ordered(rising[j])) {
				t.Errorf("%v and %v change places", rising[i], rising[j])
			}
		}
	}
	if negative := float32(math.Copysign(0, -1)); ordered(negative) != ordered(0) {
		t.Error("the zeros differ")
	}
}
