package steptime

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxTreeDepth bounds how deep a tree may be; XGBoost's own limits are far below.
const maxTreeDepth = 1024

// identityLinks are the objectives whose prediction is the margin itself.
var identityLinks = map[string]bool{
	"reg:squarederror": true, "reg:absoluteerror": true, "reg:pseudohubererror": true,
}

// boosterFile is what is read of a model that XGBoost 3 saved as JSON. What only training
// needs (gains, sums of hessians) is passed over.
type boosterFile struct {
	Version []int `json:"version"`
	Learner *struct {
		FeatureNames []string `json:"feature_names"`
		FeatureTypes []string `json:"feature_types"`
		Booster      *struct {
			Name  string `json:"name"`
			Model *struct {
				Trees    []treeFile `json:"trees"`
				TreeInfo []int      `json:"tree_info"`
				Param    struct {
					Trees string `json:"num_trees"`
				} `json:"gbtree_model_param"`
			} `json:"model"`
		} `json:"gradient_booster"`
		Param struct {
			BaseScore string `json:"base_score"`
			Classes   string `json:"num_class"`
			Features  string `json:"num_feature"`
			Targets   string `json:"num_target"`
		} `json:"learner_model_param"`
		Objective struct {
			Name string `json:"name"`
		} `json:"objective"`
	} `json:"learner"`
}

type treeFile struct {
	ID          int       `json:"id"`
	Left        []int32   `json:"left_children"`
	Right       []int32   `json:"right_children"`
	Features    []int64   `json:"split_indices"`
	Conditions  []float32 `json:"split_conditions"`
	DefaultLeft []flag    `json:"default_left"`
	SplitTypes  []int     `json:"split_type"`
	Categories  []int     `json:"categories_nodes"`
	Param       struct {
		Nodes  string `json:"num_nodes"`
		Vector string `json:"size_leaf_vector"`
	} `json:"tree_param"`
}

// A flag is written as 0 and 1, or as false and true by older versions.
type flag bool

// UnmarshalJSON reads either form.
func (f *flag) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "0", "false":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("default_left is %.20s; it is 0 or 1", text)
	}
	return nil
}

// readBooster turns a model saved by XGBoost as JSON into a forest.
//
// It refuses whatever this package would not answer as XGBoost does, and names it.
func readBooster(text []byte, features int) (*forest, error) {
	var file boosterFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("no XGBoost model: %v", err)
	}
	if err := checkBooster(&file, features); err != nil {
		return nil, err
	}
	base, err := baseScore(file.Learner.Param.BaseScore)
	if err != nil {
		return nil, err
	}
	trees := file.Learner.Booster.Model.Trees
	total := 1
	for t := range trees {
		total += len(trees[t].Left)
	}
	if total > maxNodes {
		return nil, fmt.Errorf("%d nodes; this reader takes %d at most", total, maxNodes)
	}
	builder := builder{forest: &forest{base: base, nodes: make([]node, 1, total)}}
	builder.largest = math.Abs(float64(base))
	for t := range trees {
		if trees[t].ID != t {
			return nil, fmt.Errorf("tree %d has the id %d; trees must stand in order", t, trees[t].ID)
		}
		if err := builder.add(&trees[t], features); err != nil {
			return nil, fmt.Errorf("tree %d: %v", t, err)
		}
	}
	if builder.largest > math.MaxFloat32 {
		return nil, fmt.Errorf("leaves add up to %.3g, beyond float32", builder.largest)
	}
	builder.forest.finish(builder.roots, builder.depths)
	return builder.forest, nil
}

// checkBooster refuses other kinds of model than one tree ensemble with one output.
func checkBooster(file *boosterFile, features int) error {
	if len(file.Version) != 3 || file.Learner == nil || file.Learner.Booster == nil {
		return fmt.Errorf("no XGBoost model: version, learner or gradient_booster is missing")
	}
	if file.Version[0] != 3 {
		return fmt.Errorf("saved by XGBoost %d.%d.%d; this reader reads version 3",
			file.Version[0], file.Version[1], file.Version[2])
	}
	learner := file.Learner
	if name := learner.Booster.Name; name != "gbtree" {
		return fmt.Errorf("booster %q; this reader walks gbtree alone", name)
	}
	if !identityLinks[learner.Objective.Name] {
		return fmt.Errorf("objective %q transforms its margins; this reader takes reg:squarederror, "+
			"reg:absoluteerror and reg:pseudohubererror", learner.Objective.Name)
	}
	for _, kind := range learner.FeatureTypes {
		if kind == "c" {
			return fmt.Errorf("a categorical feature; this reader takes numbers alone")
		}
	}
	if classes := learner.Param.Classes; classes != "0" && classes != "1" && classes != "" {
		return fmt.Errorf("%s classes; this reader takes models with one output", classes)
	}
	if targets := learner.Param.Targets; targets != "1" && targets != "" {
		return fmt.Errorf("%s targets; this reader takes models with one output", targets)
	}
	if learner.Param.Features != strconv.Itoa(features) {
		return fmt.Errorf("made for %.12q features, and the manifest lists %d",
			learner.Param.Features, features)
	}
	model := learner.Booster.Model
	if model == nil || len(model.Trees) == 0 {
		return fmt.Errorf("a model without trees")
	}
	if len(model.TreeInfo) != len(model.Trees) || model.Param.Trees != strconv.Itoa(len(model.Trees)) {
		return fmt.Errorf("num_trees is %.12q and tree_info has %d entries, and there are %d trees",
			model.Param.Trees, len(model.TreeInfo), len(model.Trees))
	}
	for _, group := range model.TreeInfo {
		if group != 0 {
			return fmt.Errorf("a tree of output %d; this reader takes models with one output", group)
		}
	}
	return nil
}

// baseScore reads the one number of a text such as "[4.998207E0]".
func baseScore(text string) (float32, error) {
	inner := strings.TrimSpace(text)
	if strings.HasPrefix(inner, "[") && strings.HasSuffix(inner, "]") {
		inner = strings.TrimSpace(inner[1 : len(inner)-1])
	}
	value, err := strconv.ParseFloat(inner, 32)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("base_score is %.40q; one finite number is expected", text)
	}
	return float32(value), nil
}

// A builder lays the trees of a model out, one after another.
type builder struct {
	forest  *forest
	roots   []uint32
	depths  []uint32
	largest float64 // what the leaves add up to at most
}

// add checks a tree and lays its nodes out, level by level, children side by side.
func (b *builder) add(tree *treeFile, features int) error {
	if err := checkShape(tree); err != nil {
		return err
	}
	nodes := b.forest.nodes
	first := len(nodes)
	// One entry per node laid out: which node of the file it is, and how deep it lies.
	type place struct{ from, depth int32 }
	queue := append(make([]place, 0, len(tree.Left)), place{})
	nodes = append(nodes, 0)
	seen := make([]bool, len(tree.Left))
	var depth int32
	var largest float64
	for at := 0; at < len(queue); at++ {
		from := queue[at].from
		if seen[from] {
			return fmt.Errorf("node %d has two parents", from)
		}
		seen[from] = true
		if queue[at].depth > depth {
			depth = queue[at].depth
		}
		condition := tree.Conditions[from]
		if tree.Left[from] == -1 {
			nodes[first+at] = newNode(int32(math.Float32bits(condition)), first+at, 0)
			largest = math.Max(largest, math.Abs(float64(condition)))
			continue
		}
		if err := checkSplit(tree, int(from), features); err != nil {
			return err
		}
		right := len(nodes) + 1
		slot := slotOf(int(tree.Features[from]), bool(tree.DefaultLeft[from]))
		nodes[first+at] = newNode(ordered(condition), right, slot)
		nodes = append(nodes, 0, 0)
		below := queue[at].depth + 1
		queue = append(queue, place{tree.Left[from], below}, place{tree.Right[from], below})
		if len(queue) > len(tree.Left) {
			return fmt.Errorf("a node has two parents")
		}
	}
	if depth > maxTreeDepth {
		return fmt.Errorf("%d levels deep; this reader takes %d at most", depth, maxTreeDepth)
	}
	b.forest.nodes = nodes
	b.roots = append(b.roots, uint32(first))
	b.depths = append(b.depths, uint32(depth))
	b.largest += largest
	return nil
}

// checkShape refuses a tree whose lists do not belong together.
func checkShape(tree *treeFile) error {
	n := len(tree.Left)
	if n == 0 || tree.Param.Nodes != strconv.Itoa(n) {
		return fmt.Errorf("num_nodes is %.12q, and there are %d nodes", tree.Param.Nodes, n)
	}
	if len(tree.Right) != n || len(tree.Features) != n || len(tree.Conditions) != n ||
		len(tree.DefaultLeft) != n {
		return fmt.Errorf("its lists of nodes are not equally long")
	}
	if vector := tree.Param.Vector; vector != "1" && vector != "0" && vector != "" {
		return fmt.Errorf("leaves of %.12s numbers; this reader takes models with one output", vector)
	}
	if len(tree.Categories) > 0 {
		return fmt.Errorf("a categorical split; this reader takes numbers alone")
	}
	for _, kind := range tree.SplitTypes {
		if kind != 0 {
			return fmt.Errorf("a categorical split; this reader takes numbers alone")
		}
	}
	return nil
}

// checkSplit refuses a split that leads nowhere. XGBoost goes to the node after the left
// child where a value is not below the threshold, so that node must be the right child.
func checkSplit(tree *treeFile, at, features int) error {
	left, right := int(tree.Left[at]), int(tree.Right[at])
	if left < 1 || left >= len(tree.Left) || right != left+1 || right >= len(tree.Left) {
		return fmt.Errorf("node %d has the children %d and %d of %d nodes; they must be two that "+
			"follow each other", at, left, right, len(tree.Left))
	}
	if feature := tree.Features[at]; feature < 0 || feature >= int64(features) {
		return fmt.Errorf("node %d splits feature %d of %d", at, feature, features)
	}
	return nil
}
