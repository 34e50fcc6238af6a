package steptime

import (
	"encoding/json"
	"fmt"
	"math"
)

// goldenFile holds rows with the answers Python gave when the artifact was written.
type goldenFile struct {
	Inputs   map[string][]number `json:"inputs"`
	Features [][]number          `json:"features"`
	Margins  []number            `json:"margins"`
	Values   []number            `json:"values"`
	US       []int64             `json:"us"` // 0 where the value is NaN
}

// Verify answers the golden rows of an artifact and compares every feature, margin, value
// and whole number with Python's, bit by bit. It checks the hash of every file of the
// artifact, also of those that this package does not read.
//
// It returns how many rows were compared.
func (s *Set) Verify(id string) (int, error) {
	model, err := s.Model(id)
	if err != nil {
		return 0, err
	}
	at, _ := s.find(id)
	artifact := &s.artifacts[at]
	rows, err := s.compare(model, artifact)
	if err != nil {
		return rows, fmt.Errorf("%s: artifact %q: %w", s.dir, artifact.ID, err)
	}
	return rows, nil
}

func (s *Set) compare(model *Model, artifact *artifactFile) (int, error) {
	if other := artifact.ModelFiles.UBJ; other != nil {
		if _, err := other.read(s.dir); err != nil {
			return 0, err
		}
	}
	text, err := artifact.Golden.read(s.dir)
	if err != nil {
		return 0, err
	}
	var golden goldenFile
	if err := json.Unmarshal(text, &golden); err != nil {
		return 0, fmt.Errorf("%s: %w", artifact.Golden.Path, err)
	}
	rows, err := golden.rows(len(model.features))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", artifact.Golden.Path, err)
	}
	var features []float32
	for row := 0; row < rows; row++ {
		in := golden.inputs(row)
		features = model.FeaturesOf(&in, features[:0])
		if err := golden.compareRow(model, row, &in, features); err != nil {
			return row, fmt.Errorf("%s, row %d: %w", artifact.Golden.Path, row, err)
		}
	}
	return rows, nil
}

// rows returns how many rows all lists have.
func (g *goldenFile) rows(features int) (int, error) {
	n := len(g.US)
	equal := n > 0 && len(g.Margins) == n && len(g.Values) == n && len(g.Features) == features
	for _, column := range g.Features {
		equal = equal && len(column) == n
	}
	for _, column := range g.Inputs {
		equal = equal && len(column) == n
	}
	if !equal {
		return 0, fmt.Errorf("its lists are empty or not equally long")
	}
	return n, nil
}

// inputs returns the inputs of a row; one that is not listed is NaN.
func (g *goldenFile) inputs(row int) Inputs {
	var values [inputCount]float64
	for i, name := range InputNames {
		values[i] = math.NaN()
		if column, listed := g.Inputs[name]; listed {
			values[i] = float64(column[row])
		}
	}
	return InputsOfRow(values)
}

func (g *goldenFile) compareRow(model *Model, row int, in *Inputs, features []float32) error {
	for i, found := range features {
		if want := float32(g.Features[i][row]); !same32(found, want) {
			return fmt.Errorf("feature %q is %v here and %v there", model.features[i].name, found, want)
		}
	}
	margin, err := model.Margin(features)
	if err != nil {
		return err
	}
	if want := float32(g.Margins[row]); math.Float32bits(margin) != math.Float32bits(want) {
		return fmt.Errorf("the margin is %v here and %v there", margin, want)
	}
	value, _ := model.Value(in)
	if want := float64(g.Values[row]); value != want && (value == value || want == want) {
		return fmt.Errorf("the value is %v here and %v there", value, want)
	}
	us, _, err := model.Predict(in)
	if err != nil {
		us = 0
	}
	if want := g.US[row]; us != want {
		return fmt.Errorf("the time is %d us here and %d there (0: undefined)", us, want)
	}
	return nil
}

// same32 tells whether two float32 have the same bits, or are both missing.
func same32(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}
