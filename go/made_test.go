package steptime

import (
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"
)

// boosterText writes a model as XGBoost saves it: full trees over random features and
// thresholds.
func boosterText(random *rand.Rand, trees, depth, features int) string {
	var all []string
	for t := 0; t < trees; t++ {
		n := 1<<(depth+1) - 1
		var left, right, index, condition, missing []string
		for at := 0; at < n; at++ {
			feature, l, r := random.Intn(features), 2*at+1, 2*at+2
			value := float32(math.Round(random.Float64() * 1000))
			if l >= n {
				feature, l, r, value = 0, -1, -1, float32(random.NormFloat64()/100)
			}
			left, right = append(left, fmt.Sprint(l)), append(right, fmt.Sprint(r))
			index = append(index, fmt.Sprint(feature))
			condition = append(condition, fmt.Sprint(value))
			missing = append(missing, fmt.Sprint(random.Intn(2)))
		}
		all = append(all, fmt.Sprintf(`{"id":%d,"left_children":[%s],"right_children":[%s],`+
			`"split_indices":[%s],"split_conditions":[%s],"default_left":[%s],`+
			`"tree_param":{"num_nodes":"%d","size_leaf_vector":"1"}}`, t, strings.Join(left, ","),
			strings.Join(right, ","), strings.Join(index, ","), strings.Join(condition, ","),
			strings.Join(missing, ","), n))
	}
	info := strings.TrimSuffix(strings.Repeat("0,", trees), ",")
	return fmt.Sprintf(`{"version":[3,2,0],"learner":{"feature_names":[],"feature_types":[],`+
		`"gradient_booster":{"name":"gbtree","model":{"trees":[%s],"tree_info":[%s],`+
		`"gbtree_model_param":{"num_trees":"%d"}}},"learner_model_param":{"base_score":"[5E0]",`+
		`"num_class":"0","num_feature":"%d","num_target":"1"},"objective":{"name":"reg:squarederror"}}}`,
		strings.Join(all, ","), info, trees, features)
}

// madeProgram has one feature per row of a 30-feature set and about as many operations as
// the published features need.
const madeProgram = `{"consts":[0.0,1.0,2.5,1000.0],"ops":[` +
	`["isnan",0],["where",12,8,0],["isnan",1],["where",14,8,1],["isnan",2],["where",16,8,2],` +
	`["isnan",3],["where",18,8,3],["isnan",4],["where",20,8,4],["isnan",5],["where",22,8,5],` +
	`["max",17,9],["div",13,24],["div",15,24],["gt",13,8],["gt",15,8],["and",27,28],` +
	`["where",29,9,8],["mul",17,10],["div",31,11],["mul",13,13],["mul",15,23],["div",34,11],` +
	`["max",32,35],["sub",36,32],["min",32,35],["add",36,38],["max",21,9],["div",23,40],` +
	`["mul",41,10],["add",13,15],["sign",13],["sign",15],["floor",26],["ceil",25],["neg",26],` +
	`["abs",37],["eq",13,8],["ne",15,8],["ge",13,15],["le",13,15],["lt",13,15],["or",27,28],["not",27]]}`

// madeModel is a model of random trees over madeProgram.
func madeModel(tb testing.TB, trees, depth int) *Model {
	tb.Helper()
	const features = 30
	text := boosterText(rand.New(rand.NewSource(1)), trees, depth, features)
	var columns []string
	for i := 0; i < features; i++ {
		columns = append(columns, fmt.Sprintf(`{"name":"f%d","register":%d,"undefined":0.0,`+
			`"range":[-1e9,1e9]}`, i, 13+i))
	}
	manifest := fmt.Sprintf(`{"schema":1,"kind":"gpucv-steptime","inputs":["%s"],"artifacts":[{`+
		`"id":"made","model":"made","tp":1,"target":"step.cycle_us","unit":"us",`+
		`"trees":%d,"program":%s,"features":[%s],"transform":"log","reference":null,"floor_us":null,`+
		`"smearing":1.0,"base_score":5.0}]}`, strings.Join(InputNames[:], `","`), trees,
		madeProgram, strings.Join(columns, ","))
	set, err := newSet([]byte(manifest))
	if err != nil {
		tb.Fatal(err)
	}
	forest, err := readBooster([]byte(text), features)
	if err != nil {
		tb.Fatal(err)
	}
	model, err := set.artifacts[0].assemble(set.inputs, forest)
	if err != nil {
		tb.Fatal(err)
	}
	return model
}

// steps are inputs as different from each other as a simulator's are.
func steps(n int) []Inputs {
	random := rand.New(rand.NewSource(2))
	all := make([]Inputs, n)
	for i := range all {
		decoding := random.Intn(128)
		prefill := random.Intn(3) * random.Intn(2048)
		context := random.Intn(400_000)
		all[i] = Inputs{
			PrefillTokens: float64(prefill), DecodeTokens: float64(decoding),
			ScheduledTokens: float64(prefill + decoding), PrefillRequests: float64(random.Intn(4)),
			DecodeRequests: float64(decoding), KVTokensSum: float64(context),
			KVTokensMax: float64(context / 7), KVTokensMean: float64(context) / 128,
		}
	}
	return all
}
