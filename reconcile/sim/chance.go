package sim

import (
	"math/bits"

	"github.com/stowage/stowage/spec"
)

// Numbers by chance of the shapes that measured clusters have. All arithmetic is in whole numbers, fixed at 32 bits
// behind the point where it has to be finer: floating point rounds differently from machine to machine, and a seed has
// to mean the same on all of them.

// q32 is a number with 32 bits behind the point.
type q32 int64

const one q32 = 1 << 32

// roots are 2 to the power of ½, ¼, ⅛ …, with 62 bits behind the point.
var roots = [32]uint64{
	0x5a827999fcef3242, 0x4c1bf828c6dc54b8, 0x45cae0f1f545eb73, 0x42d561b3e6243d8a,
	0x4166c34c5615d0ec, 0x40b268f9de0183ba, 0x4058f6a7ecccd5b6, 0x402c6be96af2fb58,
	0x4016321b687027a8, 0x400b18178ba33b14, 0x40058bce410147e8, 0x4002c5d7bff71daf,
	0x400162e807ee7e5b, 0x4000b1730df6a524, 0x400058b9497b8152, 0x40002c5c955dd701,
	0x4000162e46d6f26c, 0x40000b1722757b1b, 0x4000058b90fd3e0c, 0x400002c5c86f3f26,
	0x40000162e433c79b, 0x400000b17218edd0, 0x40000058b90c3968, 0x4000002c5c860d54,
	0x400000162e4302d2, 0x4000000b17218073, 0x400000058b90bffc, 0x40000002c5c85fef,
	0x4000000162e42ff3, 0x40000000b17217f9, 0x4000000058b90bfc, 0x400000002c5c85fe,
}

// log2 is the logarithm of x > 0 to the base of 2.
func log2(x q32) q32 {
	v := uint64(x)
	n := bits.Len64(v) - 1
	whole := q32(n-32) << 32
	m := v << (63 - n) // from 1 to 2, with 63 bits behind the point
	var frac q32
	for bit := one >> 1; bit != 0; bit >>= 1 {
		high, _ := bits.Mul64(m, m) // with 62 bits behind the point, below 4
		if high >= 1<<63 {
			frac |= bit
			m = high
		} else {
			m = high << 1
		}
	}
	return whole + frac
}

// exp2 is 2 to the power of x, at most the largest number that there is.
func exp2(x q32) q32 {
	whole, frac := int64(x>>32), x&(one-1)
	v := uint64(1) << 62
	for i, bit := 0, one>>1; bit != 0; i, bit = i+1, bit>>1 {
		if frac&bit != 0 {
			high, low := bits.Mul64(v, roots[i])
			v = high<<2 | low>>62
		}
	}
	switch shift := 30 - whole; { // from 62 to 32 bits behind the point
	case shift < 0:
		return 1<<63 - 1
	case shift > 63:
		return 0
	default:
		return q32(v >> shift)
	}
}

func (x q32) times(y q32) q32 {
	negative := (x < 0) != (y < 0)
	high, low := bits.Mul64(uint64(max(x, -x)), uint64(max(y, -y)))
	v := q32(high<<32 | low>>32)
	if negative {
		return -v
	}
	return v
}

// fraction is a number above 0 and at most 1.
func (r *random) fraction() q32 { return q32(r.next()>>32) + 1 }

// pareto is a whole number from low to high by the bounded Pareto distribution; alpha is its exponent in hundredths.
// The smaller alpha is, the more of everything is in the few largest: below 1 nearly all of it.
func (r *random) pareto(low, high, alpha int) int {
	a := q32(alpha) * one / 100
	ratio := exp2(a.times(log2(q32(low)<<32) - log2(q32(high)<<32))) // (low/high)^alpha
	left := one - r.fraction().times(one-ratio)                      // from ratio to 1
	x := exp2(log2(q32(low)<<32) - log2(max(left, 1))*100/q32(alpha))
	return min(high, max(low, int(x>>32)))
}

// normal is a number by the normal distribution of mean 0 and deviation 1: the sum of twelve even ones, which is right
// up to three deviations and ends at six.
func (r *random) normal() q32 {
	sum := -6 * one
	for range 12 {
		sum += r.fraction()
	}
	return sum
}

const log2e q32 = 6196328019 // log2 of e

// lognormal is a duration by the lognormal distribution; sigma is its deviation in hundredths.
func (r *random) lognormal(median spec.Duration, sigma int) spec.Duration {
	factor := exp2(r.normal().times(log2e) * q32(sigma) / 100)
	ms := q32(median / spec.Millisecond)
	return spec.Duration(ms.times(factor)) * spec.Millisecond
}

// wait is the time until the next of things that happen by themselves, so far apart on average.
func (r *random) wait(mean spec.Duration) spec.Duration {
	nats := -log2(r.fraction()).times(one * 6931472 / 10000000) // ln 2
	return spec.Duration(q32(mean/spec.Millisecond).times(nats)) * spec.Millisecond
}
