package steptime

import (
	"encoding/json"
	"math"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestModelsThatAreWalkedOtherwiseAreRefused(t *testing.T) {
	text := boosterText(rand.New(rand.NewSource(4)), 2, 2, 3)
	deep := strings.Repeat("[", 20_000)
	for name, broken := range map[string]struct{ from, to, says string }{
		"not JSON":             {`{"version"`, `{version`, "no XGBoost model"},
		"nested without end":   {`"feature_names":[]`, `"other":` + deep, "no XGBoost model"},
		"no learner":           {`"learner"`, `"leaner"`, "no XGBoost model"},
		"XGBoost 4":            {`[3,2,0]`, `[4,0,0]`, "saved by XGBoost 4.0.0"},
		"dart":                 {`"gbtree"`, `"dart"`, `booster "dart"`},
		"gblinear":             {`"gbtree"`, `"gblinear"`, `booster "gblinear"`},
		"link":                 {`reg:squarederror`, `reg:gamma`, `objective "reg:gamma"`},
		"categorical feature":  {`"feature_types":[]`, `"feature_types":["c"]`, "categorical feature"},
		"classes":              {`"num_class":"0"`, `"num_class":"3"`, "3 classes"},
		"targets":              {`"num_target":"1"`, `"num_target":"2"`, "2 targets"},
		"other output":         {`"tree_info":[0,0]`, `"tree_info":[0,1]`, "output 1"},
		"fewer trees":          {`"num_trees":"2"`, `"num_trees":"3"`, "there are 2 trees"},
		"other features":       {`"num_feature":"3"`, `"num_feature":"4"`, "the manifest lists 3"},
		"tree order":           {`"id":1`, `"id":0`, "in order"},
		"intercepts":           {`"[5E0]"`, `"[5E0,5E0]"`, "base_score"},
		"NaN intercept":        {`"[5E0]"`, `"[NaN]"`, "base_score"},
		"infinite intercept":   {`"[5E0]"`, `"[1E99]"`, "base_score"},
		"NaN threshold":        {`"split_conditions":[`, `"split_conditions":[NaN,`, "no XGBoost model"},
		"infinite threshold":   {`"split_conditions":[`, `"split_conditions":[1e39,`, "no XGBoost model"},
		"one threshold more":   {`"split_conditions":[`, `"split_conditions":[1,`, "not equally long"},
		"other num_nodes":      {`"num_nodes":"7"`, `"num_nodes":"9"`, "there are 7 nodes"},
		"vector leaves":        {`"size_leaf_vector":"1"`, `"size_leaf_vector":"2"`, "leaves of 2"},
		"categorical split":    {`"id":0`, `"id":0,"split_type":[0,1]`, "categorical split"},
		"categories":           {`"id":0`, `"id":0,"categories_nodes":[1]`, "categorical split"},
		"child ahead":          {`"left_children":[1,`, `"left_children":[7,`, "children 7 and 2"},
		"child behind":         {`"left_children":[1,`, `"left_children":[-2,`, "children -2 and 2"},
		"children apart":       {`"right_children":[2,`, `"right_children":[3,`, "children 1 and 3"},
		"cycle":                {`"left_children":[1,3,5`, `"left_children":[1,0,5`, "children 0 and 4"},
		"two parents":          {`[1,3,5,-1,-1,-1,-1],"right_children":[2,4,6`, `[1,3,1,-1,-1,-1,-1],"right_children":[2,4,2`, "two parents"},
		"feature out of range": {`"split_indices":[`, `"split_indices":[9,`, "not equally long"},
		"default of no kind":   {`"default_left":[`, `"default_left":[2,`, "default_left is 2"},
	} {
		t.Run(name, func(t *testing.T) {
			edited := strings.Replace(text, broken.from, broken.to, 1)
			if edited == text {
				t.Fatalf("no %q to replace", broken.from)
			}
			_, err := readBooster([]byte(edited), 3)
			if err == nil || !strings.Contains(err.Error(), broken.says) {
				t.Fatalf("%v does not say %q", err, broken.says)
			}
		})
	}
	if _, err := readBooster([]byte(text), 3); err != nil {
		t.Fatal(err)
	}
}

func TestAFeatureThatTheModelLacksIsRefused(t *testing.T) {
	text := boosterText(rand.New(rand.NewSource(4)), 1, 1, 1)
	edited := strings.Replace(text, `"split_indices":[0`, `"split_indices":[4000000000`, 1)
	if _, err := readBooster([]byte(edited), 1); err == nil || !strings.Contains(err.Error(), "feature 4000000000 of 1") {
		t.Error(err)
	}
}

func TestMarginsThatCouldLeaveFloat32AreRefused(t *testing.T) {
	text := boosterText(rand.New(rand.NewSource(4)), 2, 0, 1)
	leaf := regexp.MustCompile(`"split_conditions":\[[^\]]*\]`)
	edited := leaf.ReplaceAllString(text, `"split_conditions":[-3e38]`)
	if _, err := readBooster([]byte(edited), 1); err == nil || !strings.Contains(err.Error(), "beyond float32") {
		t.Error(err)
	}
}

// plain walks the trees of a model file as XGBoost describes them, with no regard to speed.
func plain(file *boosterFile, base float32, x []float32) float32 {
	sum := base
	for _, tree := range file.Learner.Booster.Model.Trees {
		at := int32(0)
		for tree.Left[at] != -1 {
			value := x[tree.Features[at]]
			left := value < tree.Conditions[at]
			if value != value {
				left = bool(tree.DefaultLeft[at])
			}
			if left {
				at = tree.Left[at]
			} else {
				at = tree.Right[at]
			}
		}
		sum += tree.Conditions[at]
	}
	return sum
}

// agree compares the walk of a model with the plain one, on rows that end in many leaves.
func agree(t *testing.T, text []byte, forest *forest, features int) {
	t.Helper()
	var file boosterFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	values := []float32{
		float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0,
		float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, math.MaxFloat32, 1, -1,
	}
	for _, tree := range file.Learner.Booster.Model.Trees {
		if len(values) < 100 {
			values = append(values, tree.Conditions...)
		}
	}
	random := rand.New(rand.NewSource(5))
	row := make([]float32, features)
	var x slots
	x[0] = above
	for n := 0; n < 50; n++ {
		for i := range row {
			row[i] = values[random.Intn(len(values))]
			x.set(i, row[i])
		}
		got, want := forest.margin(&x), plain(&file, forest.base, row)
		if math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("%v gave %v, not %v", row, got, want)
		}
	}
}

func TestWalksAgreeWithThePlainOne(t *testing.T) {
	for trees := 1; trees <= 2*lanes+1; trees++ {
		for depth := 0; depth <= 5; depth++ {
			text := []byte(boosterText(rand.New(rand.NewSource(int64(trees))), trees, depth, 4))
			forest, err := readBooster(text, 4)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, text, forest, 4)
		}
	}
}

func FuzzBooster(f *testing.F) {
	for seed := int64(0); seed < 3; seed++ {
		f.Add([]byte(boosterText(rand.New(rand.NewSource(seed)), 1+int(seed), int(seed), 2)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		forest, err := readBooster(text, 2)
		if err == nil {
			agree(t, text, forest, 2)
		}
	})
}

func FuzzManifest(f *testing.F) {
	whole, err := os.ReadFile(handmade + "/manifest.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := newSet(text)
		if err != nil {
			return
		}
		set.dir = handmade
		for _, entry := range set.Entries() {
			model, err := set.Model(entry.ID)
			if err != nil {
				continue
			}
			for _, in := range append(steps(20), InputsOf(nil, same)) {
				if us, _, err := model.Predict(&in); err == nil && us < 1 {
					t.Fatalf("%+v takes %d us", in, us)
				}
			}
		}
	})
}
