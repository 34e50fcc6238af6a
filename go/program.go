package steptime

import (
	"encoding/json"
	"fmt"
	"math"
)

// maxOps bounds the constants and the operations of a program.
const maxOps = 100_000

// opcode is one float64 operation, with NumPy's semantics.
type opcode uint8

const (
	opAdd opcode = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opNeg
	opAbs
	opSign
	opGt
	opGe
	opLt
	opLe
	opEq
	opNe
	opAnd
	opOr
	opNot
	opWhere
	opIsNaN
	opFloor
	opCeil
	opExp
	opFloat32
)

// opcodes gives the operations by name, with how many registers each reads.
var opcodes = map[string]struct {
	code  opcode
	reads int
}{
	"add": {opAdd, 2}, "sub": {opSub, 2}, "mul": {opMul, 2}, "div": {opDiv, 2},
	"max": {opMax, 2}, "min": {opMin, 2}, "neg": {opNeg, 1}, "abs": {opAbs, 1},
	"sign": {opSign, 1}, "gt": {opGt, 2}, "ge": {opGe, 2}, "lt": {opLt, 2},
	"le": {opLe, 2}, "eq": {opEq, 2}, "ne": {opNe, 2}, "and": {opAnd, 2},
	"or": {opOr, 2}, "not": {opNot, 1}, "where": {opWhere, 3}, "isnan": {opIsNaN, 1},
	"floor": {opFloor, 1}, "ceil": {opCeil, 1}, "exp": {opExp, 1}, "f32": {opFloat32, 1},
}

// An op is one operation and the registers it reads; it writes the next free register.
type op struct {
	code    opcode
	a, b, c uint32
}

// A program computes the registers of a row: inputs, constants, one more per operation.
type program struct {
	inputs []uint8 // which of a row's inputs go into the first registers
	consts []float64
	ops    []op
}

func (p *program) registers() int { return len(p.inputs) + len(p.consts) + len(p.ops) }

// start returns registers that hold the constants.
func (p *program) start() []float64 {
	registers := make([]float64, p.registers())
	copy(registers[len(p.inputs):], p.consts)
	return registers
}

// run fills the registers, which `start` made, for one row.
func (p *program) run(registers []float64, row *[inputCount]float64) {
	for i, input := range p.inputs {
		registers[i] = row[input]
	}
	next := len(p.inputs) + len(p.consts)
	for i := range p.ops {
		o := &p.ops[i]
		a := registers[o.a]
		var value float64
		switch o.code {
		case opAdd:
			value = a + registers[o.b]
		case opSub:
			value = a - registers[o.b]
		case opMul:
			value = a * registers[o.b]
		case opDiv:
			value = a / registers[o.b]
		case opMax:
			value = maximum(a, registers[o.b])
		case opMin:
			value = minimum(a, registers[o.b])
		case opNeg:
			value = -a
		case opAbs:
			value = math.Abs(a)
		case opSign:
			value = sign(a)
		case opGt:
			value = truth(a > registers[o.b])
		case opGe:
			value = truth(a >= registers[o.b])
		case opLt:
			value = truth(a < registers[o.b])
		case opLe:
			value = truth(a <= registers[o.b])
		case opEq:
			value = truth(a == registers[o.b])
		case opNe:
			value = truth(a != registers[o.b])
		case opAnd:
			value = truth(a != 0 && registers[o.b] != 0)
		case opOr:
			value = truth(a != 0 || registers[o.b] != 0)
		case opNot:
			value = truth(a == 0)
		case opWhere:
			value = registers[o.c]
			if a != 0 {
				value = registers[o.b]
			}
		case opIsNaN:
			value = truth(a != a)
		case opFloor:
			value = math.Floor(a)
		case opCeil:
			value = math.Ceil(a)
		case opExp:
			value = exactExp(a)
		case opFloat32:
			value = float64(float32(a))
		}
		registers[next+i] = value
	}
}

// maximum is the larger number, or NaN if one of them is; of equal ones, the first.
func maximum(a, b float64) float64 {
	if a >= b || a != a {
		return a
	}
	return b
}

// minimum is the smaller number, or NaN if one of them is; of equal ones, the first.
func minimum(a, b float64) float64 {
	if a <= b || a != a {
		return a
	}
	return b
}

// sign is 1, 0 or -1, or NaN.
func sign(a float64) float64 {
	switch {
	case a > 0:
		return 1
	case a < 0:
		return -1
	case a == 0:
		return 0
	}
	return a
}

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// programFile is a program as the manifest holds it.
type programFile struct {
	Consts []number            `json:"consts"`
	Ops    [][]json.RawMessage `json:"ops"`
}

// compile checks a program: every register it reads has been written before.
func (f *programFile) compile(inputs []uint8) (*program, error) {
	if len(f.Ops) > maxOps || len(f.Consts) > maxOps {
		return nil, fmt.Errorf("a program of %d operations and %d constants; this reader takes %d",
			len(f.Ops), len(f.Consts), maxOps)
	}
	p := &program{inputs: inputs}
	for _, value := range f.Consts {
		p.consts = append(p.consts, float64(value))
	}
	known := len(inputs) + len(p.consts)
	for i, parts := range f.Ops {
		o, err := compileOp(parts, known+i)
		if err != nil {
			return nil, fmt.Errorf("operation %d of the program: %v", i, err)
		}
		p.ops = append(p.ops, o)
	}
	return p, nil
}

// compileOp reads one operation such as ["mul", 3, 8], which may read registers below known.
func compileOp(parts []json.RawMessage, known int) (op, error) {
	var name string
	if len(parts) == 0 || json.Unmarshal(parts[0], &name) != nil {
		return op{}, fmt.Errorf("it has no name")
	}
	kind, found := opcodes[name]
	if !found {
		return op{}, fmt.Errorf("%.20q is none that this reader knows", name)
	}
	if len(parts)-1 != kind.reads {
		return op{}, fmt.Errorf("%s reads %d registers, not %d", name, kind.reads, len(parts)-1)
	}
	var reads [3]uint32
	for i, part := range parts[1:] {
		if err := json.Unmarshal(part, &reads[i]); err != nil || int64(reads[i]) >= int64(known) {
			return op{}, fmt.Errorf("%s reads register %.20s of %d", name, part, known)
		}
	}
	return op{kind.code, reads[0], reads[1], reads[2]}, nil
}
