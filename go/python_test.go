package steptime

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// Python writes rows and XGBoost's answers into a folder, as little-endian arrays, and names
// it here together with a set and a model; see tests/go.
const (
	rowsFolder = "STEPTIME_ROWS"
	rowsSet    = "STEPTIME_SET"
	rowsModel  = "STEPTIME_MODEL"
)

func array(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(os.Getenv(rowsFolder), name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func float32At(from []byte, at int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(from[4*at:]))
}

func float64At(from []byte, at int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(from[8*at:]))
}

func TestEveryRowOfPythonIsAnsweredAlike(t *testing.T) {
	if os.Getenv(rowsFolder) == "" {
		t.Skip("no rows given; tests/go/test_reader.py writes them")
	}
	set, err := Load(os.Getenv(rowsSet))
	if err != nil {
		t.Fatal(err)
	}
	model, err := set.Model(os.Getenv(rowsModel))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("margins", func(t *testing.T) { margins(t, model) })
	t.Run("values", func(t *testing.T) { values(t, model) })
	t.Run("exponentials", exponentials)
}

func margins(t *testing.T, model *Model) {
	rows, answers := array(t, "features.f32"), array(t, "margins.f32")
	width := len(model.features)
	n := len(answers) / 4
	if n == 0 || len(rows) != 4*n*width {
		t.Fatalf("%d bytes of rows for %d margins", len(rows), n)
	}
	row, wrong := make([]float32, width), 0
	for i := 0; i < n; i++ {
		for j := range row {
			row[j] = float32At(rows, i*width+j)
		}
		got, err := model.Margin(row)
		if err != nil {
			t.Fatal(err)
		}
		want := float32At(answers, i)
		if math.Float32bits(got) != math.Float32bits(want) {
			if wrong++; wrong <= 5 {
				t.Errorf("row %d %v: %v, not %v", i, row, got, want)
			}
		}
	}
	t.Logf("%d margins, %d differ", n, wrong)
}

func values(t *testing.T, model *Model) {
	rows, answers, whole := array(t, "inputs.f64"), array(t, "values.f64"), array(t, "us.i64")
	n := len(answers) / 8
	if n == 0 || len(rows) != 8*n*inputCount || len(whole) != 8*n {
		t.Fatalf("%d bytes of rows for %d values", len(rows), n)
	}
	wrong := 0
	for i := 0; i < n; i++ {
		var row [inputCount]float64
		for j := range row {
			row[j] = float64At(rows, i*inputCount+j)
		}
		in := InputsOfRow(row)
		got, _ := model.Value(&in)
		us, _, err := model.Predict(&in)
		want, wantUS := float64At(answers, i), int64(binary.LittleEndian.Uint64(whole[8*i:]))
		alike := math.Float64bits(got) == math.Float64bits(want) || got != got && want != want
		if !alike || us != wantUS || (err != nil) != (want != want) {
			if wrong++; wrong <= 5 {
				t.Errorf("row %d %v: %v and %d us (%v), not %v and %d us", i, row, got, us, err, want, wantUS)
			}
		}
	}
	t.Logf("%d values, %d differ", n, wrong)
}

func exponentials(t *testing.T) {
	given, answers := array(t, "exponents.f64"), array(t, "exponentials.f64")
	for i := 0; i < len(given)/8; i++ {
		x, want := float64At(given, i), float64At(answers, i)
		if got := exactExp(x); math.Float64bits(got) != math.Float64bits(want) && (got == got || want == want) {
			t.Fatalf("exp(%v) is %x, not %x", x, got, want)
		}
	}
}
