package steptime

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Schema is the version of the format that this package reads.
const Schema = 1

const kind = "gpucv-steptime"

// A number is a JSON number, or one that JSON has no number for: "nan", "inf", "-inf".
type number float64

// UnmarshalJSON reads either form; null is NaN.
func (n *number) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "null", `"nan"`:
		*n = number(math.NaN())
	case `"inf"`:
		*n = number(math.Inf(1))
	case `"-inf"`:
		*n = number(math.Inf(-1))
	default:
		value, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return fmt.Errorf("%.40s is no number", text)
		}
		*n = number(value)
	}
	return nil
}

type manifestFile struct {
	Schema    *int           `json:"schema"`
	Kind      string         `json:"kind"`
	Synthetic bool           `json:"synthetic"`
	Inputs    []string       `json:"inputs"`
	Artifacts []artifactFile `json:"artifacts"`
}

type artifactFile struct {
	ID       string      `json:"id"`
	Aliases  []string    `json:"aliases"`
	Model    string      `json:"model"`
	GPU      string      `json:"gpu"`
	TP       json.Number `json:"tp"`
	Engine   string      `json:"engine_version"`
	Target   string      `json:"target"`
	Unit     string      `json:"unit"`
	Trees    int         `json:"trees"`
	Program  programFile `json:"program"`
	Features []struct {
		Name      string    `json:"name"`
		Register  *uint32   `json:"register"`
		Undefined *float64  `json:"undefined"`
		Missing   bool      `json:"missing"`
		Range     []float64 `json:"range"`
	} `json:"features"`
	Transform  string   `json:"transform"`
	Reference  *uint32  `json:"reference"`
	Floor      *float64 `json:"floor_us"`
	Smearing   *float64 `json:"smearing"`
	BaseScore  *float64 `json:"base_score"`
	ModelFiles struct {
		JSON fileRef  `json:"json"`
		UBJ  *fileRef `json:"ubj"`
	} `json:"model_files"`
	Golden   fileRef `json:"golden"`
	Blackbox *struct {
		Beta []float64 `json:"beta_us"`
		MAPE number    `json:"mape"`
	} `json:"blackbox"`
	HeldOut []scoreFile `json:"held_out"`
}

// scoreFile is a Score as the manifest holds it: what is not finite has no number there.
type scoreFile struct {
	Scheme  string `json:"scheme"`
	Holdout string `json:"holdout"`
	Rows    int    `json:"n"`
	MAPE    number `json:"mape"`
	MSPE    number `json:"mspe"`
	WAPE    number `json:"wape"`
}

// logarithmic tells, of each known transform, whether the trees learnt a logarithm.
var logarithmic = map[string]bool{"raw": false, "log": true, "utilisation": true, "ratio": true}

// readManifest reads and checks the manifest of a set.
func readManifest(text []byte) (*manifestFile, error) {
	// The version first: another one may differ in anything else.
	var header struct {
		Schema *int   `json:"schema"`
		Kind   string `json:"kind"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, fmt.Errorf("manifest.json is damaged: %v; export the set again", err)
	}
	if header.Kind != kind || header.Schema == nil {
		return nil, fmt.Errorf("manifest.json is no set of step-time artifacts (kind %.40q); "+
			"`gpucv export` writes one", header.Kind)
	}
	if *header.Schema != Schema {
		return nil, fmt.Errorf("manifest.json has schema %d, and this reader reads %d; take the "+
			"reader that came with the exporter, or export again", *header.Schema, Schema)
	}
	var file manifestFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("manifest.json: %v; export the set again", err)
	}
	if len(file.Artifacts) == 0 {
		return nil, fmt.Errorf("manifest.json lists no artifact; export the set again")
	}
	return &file, nil
}

// inputOrder finds the set's inputs among those this package knows.
func inputOrder(names []string) ([]uint8, error) {
	order := make([]uint8, 0, len(names))
	taken := [inputCount]bool{}
	for _, name := range names {
		found := -1
		for i, known := range InputNames {
			if name == known {
				found = i
			}
		}
		if found < 0 {
			return nil, fmt.Errorf("manifest.json asks for the input %.80q, which this reader does "+
				"not know; take a newer reader", name)
		}
		if taken[found] {
			return nil, fmt.Errorf("manifest.json lists the input %q twice; export the set again", name)
		}
		taken[found] = true
		order = append(order, uint8(found))
	}
	return order, nil
}

// check refuses an artifact that this package would not answer as it was written.
func (a *artifactFile) check() error {
	_, known := logarithmic[a.Transform]
	switch {
	case a.ID == "":
		return fmt.Errorf("it has no id")
	case a.Unit != "us":
		return fmt.Errorf("its unit is %.20q; step times are in us", a.Unit)
	case !known:
		return fmt.Errorf("transform %.40q is none that this reader knows", a.Transform)
	case len(a.Features) == 0 || len(a.Features) > MaxFeatures:
		return fmt.Errorf("%d features; this reader takes 1 to %d", len(a.Features), MaxFeatures)
	case a.BaseScore == nil || a.Smearing == nil:
		return fmt.Errorf("base_score or smearing is missing")
	case !(*a.Smearing > 0) || math.IsInf(*a.Smearing, 0):
		return fmt.Errorf("smearing is %v; it is a number above 0", *a.Smearing)
	case a.Blackbox != nil && len(a.Blackbox.Beta) != 3:
		return fmt.Errorf("beta_us has %d coefficients, not 3", len(a.Blackbox.Beta))
	}
	for i, feature := range a.Features {
		if feature.Register == nil {
			return fmt.Errorf("feature %d has no register", i)
		}
		if n := len(feature.Range); n != 0 && (n != 2 || feature.Range[0] > feature.Range[1]) {
			return fmt.Errorf("feature %d has the range %v; it is [least, most]", i, feature.Range)
		}
	}
	return nil
}
