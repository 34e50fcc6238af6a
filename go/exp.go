package steptime

import "math"

// 1/ln 2; ln 2 as a sum of two numbers, of which the first ends in 21 zero bits, so that its
// product with a whole number below 2048 is exact; and where the exponential leaves float64.
const (
	log2E    = 0x1.71547652b82fep+0
	ln2High  = 0x1.62e42feep-1
	ln2Low   = 0x1.a39ef35793c76p-33
	largest  = 709.782712893384
	smallest = -745.1332191019412
)

// expTerms holds 1/n! for n = 2 to 13, each the nearest float64.
var expTerms = [...]float64{
	0x1.0000000000000p-1, 0x1.5555555555555p-3, 0x1.5555555555555p-5, 0x1.1111111111111p-7,
	0x1.6c16c16c16c17p-10, 0x1.a01a01a01a01ap-13, 0x1.a01a01a01a01ap-16, 0x1.71de3a556c734p-19,
	0x1.27e4fb7789f5cp-22, 0x1.ae64567f544e4p-26, 0x1.1eed8eff8d898p-29, 0x1.6124613a86d09p-33,
}

// exactExp returns e to the power x, with the same bits on every machine and in Python.
//
// math.Exp and NumPy's exp are other algorithms on other machines, and differ in the last
// bit. Here every operation is one IEEE 754 operation in a fixed order; the conversions to
// float64 keep the compiler from fusing a product into a sum. The error is below one unit in
// the last place.
func exactExp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > largest:
		return math.Inf(1)
	case x < smallest:
		return 0
	}
	k := math.Floor(float64(x*log2E) + 0.5)
	high := x - float64(k*ln2High)
	low := float64(k * ln2Low)
	r := high - low
	lost := (high - r) - low
	p := expTerms[len(expTerms)-1]
	for n := len(expTerms) - 2; n >= 0; n-- {
		p = float64(p*r) + expTerms[n]
	}
	s := r + (lost + float64(float64(r*r)*p))
	e := 1 + s
	// Two factors, because 2^k itself may lie outside float64. Only the second can round.
	half := math.Floor(k / 2)
	return float64(e*powerOfTwo(half)) * powerOfTwo(k-half)
}

// powerOfTwo returns 2^k for a whole k from -1022 to 1023.
func powerOfTwo(k float64) float64 {
	return math.Float64frombits(uint64(int64(k)+1023) << 52)
}
