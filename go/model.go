package steptime

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// ErrUndefined is returned where a step has no time: the reference of a relative transform
// is undefined for its counts.
var ErrUndefined = errors.New("steptime: the step time is not a number for these inputs; " +
	"give the counts that the model needs")

// Flags say what to know of one prediction.
type Flags struct {
	OutOfDomain int  // features outside what the model was trained on; trees are flat there
	Missing     int  // features that are missing; trees take their default direction
	Blackbox    bool // answered by the blackbox formula
}

// A Model answers for one configuration. It is safe for concurrent use.
type Model struct {
	entry       Entry
	line        *[3]float64
	lineMAPE    float64
	leaveDomain bool

	program     *program
	features    []feature
	forest      *forest
	logarithmic bool
	reference   int // register, or -1
	smearing    float64
	floor       float64 // -Inf: none

	scratch sync.Pool
}

// A feature is a register as trees see it, and what was seen of it in training.
type feature struct {
	name        string
	register    uint32
	undefined   float32 // stands for what is not finite; NaN is missing
	least, most float32
	missing     bool // training had rows where it was missing
}

// scratch is what one prediction writes to.
type scratch struct {
	registers []float64
	slots     slots
}

// open reads an artifact's model file and puts a model together.
func (s *Set) open(a *artifactFile) (*Model, error) {
	text, err := a.ModelFiles.JSON.read(s.dir)
	if err != nil {
		return nil, err
	}
	trees, err := readBooster(text, len(a.Features))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.ModelFiles.JSON.Path, err)
	}
	if trees.trees != a.Trees {
		return nil, fmt.Errorf("%s has %d trees, and the manifest says %d; export the set again",
			a.ModelFiles.JSON.Path, trees.trees, a.Trees)
	}
	if trees.base != float32(*a.BaseScore) {
		return nil, fmt.Errorf("%s has base_score %v, and the manifest says %v; export the set again",
			a.ModelFiles.JSON.Path, trees.base, *a.BaseScore)
	}
	return a.assemble(s.inputs, trees)
}

func (a *artifactFile) assemble(inputs []uint8, trees *forest) (*Model, error) {
	compiled, err := a.Program.compile(inputs)
	if err != nil {
		return nil, err
	}
	m := &Model{
		entry: a.entry(), program: compiled, forest: trees, reference: -1,
		logarithmic: logarithmic[a.Transform], smearing: *a.Smearing,
		floor: math.Inf(-1),
	}
	if a.Floor != nil {
		m.floor = *a.Floor
	}
	if a.Blackbox != nil {
		m.line = (*[3]float64)(a.Blackbox.Beta)
		m.lineMAPE = float64(a.Blackbox.MAPE)
	}
	known := uint32(compiled.registers())
	if a.Reference != nil {
		if *a.Reference >= known {
			return nil, fmt.Errorf("its reference is register %d of %d", *a.Reference, known)
		}
		m.reference = int(*a.Reference)
	}
	for _, each := range a.Features {
		if *each.Register >= known {
			return nil, fmt.Errorf("feature %.80q is register %d of %d", each.Name, *each.Register, known)
		}
		found := feature{
			name: each.Name, register: *each.Register, undefined: float32(math.NaN()),
			least: float32(math.Inf(1)), most: float32(math.Inf(-1)), missing: true,
		}
		if each.Undefined != nil {
			found.undefined = float32(*each.Undefined)
		}
		// Without a range, training never saw a value: any number is new, a missing one is not.
		if len(each.Range) == 2 {
			found.least, found.most = float32(each.Range[0]), float32(each.Range[1])
			found.missing = each.Missing
		}
		m.features = append(m.features, found)
	}
	m.scratch.New = func() any {
		fresh := &scratch{registers: compiled.start()}
		fresh.slots[0] = above
		return fresh
	}
	return m, nil
}

// lineModel is a model that knows the blackbox formula alone.
func lineModel(name string, beta [3]float64) (*Model, error) {
	for _, coefficient := range beta {
		if math.IsNaN(coefficient) || math.IsInf(coefficient, 0) {
			return nil, fmt.Errorf("blackbox coefficients %v; they are finite numbers, in us", beta)
		}
	}
	return &Model{entry: Entry{ID: name, Model: name}, line: &beta, lineMAPE: math.NaN()}, nil
}

// Entry describes the artifact the model came from.
func (m *Model) Entry() Entry { return m.entry }

// Features names the model's features, in its order.
func (m *Model) Features() []string {
	names := make([]string, 0, len(m.features))
	for i := range m.features {
		names = append(names, m.features[i].name)
	}
	return names
}

// Blackbox returns the coefficients of the artifact's blackbox formula, in us, and its error
// on held-out rows in percent.
func (m *Model) Blackbox() (beta [3]float64, mape float64, ok bool) {
	if m.line == nil {
		return beta, 0, false
	}
	return *m.line, m.lineMAPE, true
}

// Predict returns the time of one step in whole us, at least 1.
func (m *Model) Predict(in *Inputs) (us int64, flags Flags, err error) {
	value, flags := m.Value(in)
	if value != value {
		return 0, flags, ErrUndefined
	}
	return wholeMicroseconds(value), flags, nil
}

// PredictBatch returns the time of the step that runs these requests, as Predict does.
func (m *Model) PredictBatch(requests []Request) (us int64, flags Flags, err error) {
	in := InputsOf(requests, same)
	return m.Predict(&in)
}

// Value returns the time of one step in us before it is rounded; NaN if it is undefined.
func (m *Model) Value(in *Inputs) (float64, Flags) {
	if m.forest == nil {
		return m.onLine(in), Flags{Blackbox: true}
	}
	s := m.scratch.Get().(*scratch)
	flags := m.fill(s, in)
	var value float64
	if m.leaveDomain && flags.OutOfDomain > 0 {
		flags.Blackbox = true
		value = m.onLine(in)
	} else {
		value = m.inverse(m.forest.margin(&s.slots), s.registers)
	}
	m.scratch.Put(s)
	return value, flags
}

// fill computes the features of a row.
func (m *Model) fill(s *scratch, in *Inputs) (flags Flags) {
	row := in.row()
	m.program.run(s.registers, &row)
	for i := range m.features {
		each := &m.features[i]
		value := each.of(s.registers)
		s.slots.set(i, value)
		if value != value {
			flags.Missing++
			if !each.missing {
				flags.OutOfDomain++
			}
		} else if !(each.least <= value && value <= each.most) {
			flags.OutOfDomain++
		}
	}
	return flags
}

// of returns the feature as the float32 that trees compare.
func (f *feature) of(registers []float64) float32 {
	value := float32(registers[f.register])
	if value-value != 0 { // infinite or NaN
		return f.undefined
	}
	return value
}

// inverse turns a margin into a time, in us.
func (m *Model) inverse(margin float32, registers []float64) float64 {
	value := float64(margin)
	if m.logarithmic {
		value = exactExp(value)
		if m.reference >= 0 {
			value *= registers[m.reference]
		}
	}
	value *= m.smearing
	return maximum(value, m.floor)
}

// onLine answers by the blackbox formula.
func (m *Model) onLine(in *Inputs) float64 {
	value := m.line[0] + float64(m.line[1]*in.PrefillTokens)
	return value + float64(m.line[2]*in.DecodeTokens)
}

// FeaturesOf appends the features of a step to dst, as float32.
func (m *Model) FeaturesOf(in *Inputs, dst []float32) []float32 {
	if m.forest == nil {
		return dst
	}
	s := m.scratch.Get().(*scratch)
	m.fill(s, in)
	for i := range m.features {
		dst = append(dst, m.features[i].of(s.registers))
	}
	m.scratch.Put(s)
	return dst
}

// Margin returns what XGBoost returns for a row of features, NaN being missing, before the
// transform is inverted.
func (m *Model) Margin(features []float32) (float32, error) {
	if m.forest == nil || len(features) != len(m.features) {
		return 0, fmt.Errorf("steptime: %d features for model %q, which has %d",
			len(features), m.entry.ID, len(m.features))
	}
	s := m.scratch.Get().(*scratch)
	for i, value := range features {
		s.slots.set(i, value)
	}
	margin := m.forest.margin(&s.slots)
	m.scratch.Put(s)
	return margin, nil
}

// mostMicroseconds is 2^63 - 1024, the largest float64 that an int64 holds.
const mostMicroseconds = 1<<63 - 1024

// wholeMicroseconds rounds half to even, from 1 to mostMicroseconds.
func wholeMicroseconds(value float64) int64 {
	return int64(math.Min(math.Max(math.RoundToEven(value), 1), mostMicroseconds))
}
