package steptime

import "math"

// A node is one 64-bit word, so that a step down a tree is one load of the node and one of
// the feature:
//
//	bits 63..32  the threshold as an ordered integer, or a leaf's float32
//	bits 31..8   index of the right child, which stands after the left one
//	bits  7..0   the slot the threshold is compared with
//
// A slot holds a feature's ordered integer above 32 one bits: whole words then compare as
// their thresholds do, and equal ones as not below, whatever stands beneath.
//
// Every feature has two slots, alike but where the feature is missing: one then is below
// every threshold and one above. A node reads the one of its default direction, and so needs
// no test for missing values. Slot 0 is above everything: a leaf reads it and names itself
// as its right child, so that a walk that has arrived stays.
type node uint64

// slots holds one row's features as nodes read them.
type slots [1 << slotBits]int64

const (
	slotBits  = 8
	childBits = 32 - slotBits

	// MaxFeatures is the most features a model may have.
	MaxFeatures = 1<<(slotBits-1) - 1
	maxNodes    = 1<<childBits - 1

	below = math.MinInt64 | 1<<32 - 1
	above = math.MaxInt64
)

// newNode packs a node. Its fields must be within their bounds.
func newNode(ordered int32, right int, slot uint8) node {
	return node(uint64(uint32(ordered))<<32 | uint64(right)<<slotBits | uint64(slot))
}

// next returns where the walk goes from a node: its right child, or the one before.
func (n node) next(x *slots) uint64 {
	var left uint64
	if x[uint8(n)] < int64(n) {
		left = 1 // no jump: the compiler turns the comparison into a number
	}
	return uint64(uint32(n)>>slotBits) - left
}

func (n node) leaf() float32 { return math.Float32frombits(uint32(n >> 32)) }

// ordered maps a float32 that is a number to an integer: a < b exactly if ordered(a) <
// ordered(b). Both zeros are one.
func ordered(value float32) int32 {
	if value == 0 {
		return 0
	}
	bits := int32(math.Float32bits(value))
	return bits ^ int32(uint32(bits>>31)>>1)
}

// set puts feature number `feature` into its two slots.
func (x *slots) set(feature int, value float32) {
	right, left := slotOf(feature, false), slotOf(feature, true)
	if value != value {
		x[right], x[left] = above, below
		return
	}
	key := int64(ordered(value))<<32 | (1<<32 - 1)
	x[right], x[left] = key, key
}

// slotOf returns the slot a node of this feature reads, by its default direction.
func slotOf(feature int, defaultLeft bool) uint8 {
	if defaultLeft {
		return uint8(2*feature + 2)
	}
	return uint8(2*feature + 1)
}

// lanes is how many trees are walked side by side: one tree alone would wait for memory at
// every step. Eight were fastest of one, four and eight.
const lanes = 8

// A bundle is up to `lanes` consecutive trees: their roots, and the depth of the deepest.
// Where it holds fewer, its last root is repeated and counts once.
type bundle struct {
	roots [lanes]uint32
	trees uint32
	depth uint32
}

// A forest holds the trees of one model in one piece of memory.
type forest struct {
	base    float32
	nodes   []node
	bundles []bundle
	trees   int
}

// margin returns the sum of the leaves a row ends in, in XGBoost's order and precision: from
// base_score on, tree by tree, each sum rounded to float32.
func (f *forest) margin(x *slots) float32 {
	sum := f.base
	nodes := f.nodes
	for b := range f.bundles {
		group := &f.bundles[b]
		i0, i1 := uint64(group.roots[0]), uint64(group.roots[1])
		i2, i3 := uint64(group.roots[2]), uint64(group.roots[3])
		i4, i5 := uint64(group.roots[4]), uint64(group.roots[5])
		i6, i7 := uint64(group.roots[6]), uint64(group.roots[7])
		for d := group.depth; d > 0; d-- {
			i0 = nodes[i0].next(x)
			i1 = nodes[i1].next(x)
			i2 = nodes[i2].next(x)
			i3 = nodes[i3].next(x)
			i4 = nodes[i4].next(x)
			i5 = nodes[i5].next(x)
			i6 = nodes[i6].next(x)
			i7 = nodes[i7].next(x)
		}
		if group.trees < lanes {
			ends := [lanes]uint64{i0, i1, i2, i3, i4, i5, i6, i7}
			for _, end := range ends[:group.trees] {
				sum += nodes[end].leaf()
			}
			continue
		}
		sum += nodes[i0].leaf()
		sum += nodes[i1].leaf()
		sum += nodes[i2].leaf()
		sum += nodes[i3].leaf()
		sum += nodes[i4].leaf()
		sum += nodes[i5].leaf()
		sum += nodes[i6].leaf()
		sum += nodes[i7].leaf()
	}
	return sum
}

// finish bundles the trees laid out at `roots`.
func (f *forest) finish(roots, depths []uint32) {
	f.trees = len(roots)
	for t := 0; t < len(roots); t += lanes {
		group := bundle{trees: uint32(least(lanes, len(roots)-t))}
		for lane := range group.roots {
			tree := least(t+lane, len(roots)-1)
			group.roots[lane] = roots[tree]
			if depths[tree] > group.depth {
				group.depth = depths[tree]
			}
		}
		f.bundles = append(f.bundles, group)
	}
}
