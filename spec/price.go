package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// Price is what something costs in an hour, in millionths of the cluster's currency.
type Price int64

// MaxPrice is the highest price of a node that can be written: beyond it, sums over a large cluster could overflow.
const MaxPrice Price = 1_000_000 * 1_000_000

// AttributePrice is the attribute of a node that says what it costs in an hour, such as "0.42". Without it, a node costs what
// its NodeClass does.
const AttributePrice = "node.price"

// ParsePrice reads a price such as "0.42".
func ParsePrice(text string) (Price, error) {
	whole, part, _ := strings.Cut(text, ".")
	digits := part + strings.Repeat("0", max(0, 6-len(part)))
	n, err := strconv.ParseUint(whole, 10, 32)
	m, err2 := strconv.ParseUint(digits, 10, 32)
	if err != nil || err2 != nil || len(digits) > 6 || strings.HasSuffix(text, ".") || Price(n) > MaxPrice/1_000_000 {
		return 0, fmt.Errorf("%q is no price: write it as 0.42, with at most six digits behind the point", text)
	}
	return Price(n)*1_000_000 + Price(m), nil
}

// String prints the price as it is, without zeros at its end but with two digits where it has any: "0.42", "12", "1.50".
func (p Price) String() string {
	if p < 0 {
		return "-" + (-p).String()
	}
	text := strconv.FormatInt(int64(p/1_000_000), 10)
	if f := p % 1_000_000; f != 0 {
		digits := strings.TrimRight(fmt.Sprintf("%06d", f), "0")
		text += "." + digits + strings.Repeat("0", max(0, 2-len(digits)))
	}
	return text
}

// Rough prints the price to a hundredth, or where it is less to its first two digits: what sums are told in.
func (p Price) Rough() string {
	unit := Price(10_000)
	for unit > 1 && p < 10*unit {
		unit /= 10
	}
	return ((p + unit/2) / unit * unit).String()
}

// PerHour says a price with the cluster's currency: "0.42 EUR an hour".
func (c *Cluster) PerHour(p Price) string {
	if c.Currency == "" {
		return p.String() + " an hour"
	}
	return p.String() + " " + c.Currency + " an hour"
}
