package spec

// Clock makes the time that a core is given from what the machine's clock shows, which is set now and then: a core that took it
// as it is would wait an hour longer for everything when it is set back an hour, and find every deadline passed when it is set
// on. This one runs as time passes, and drifts to what the machine shows: an hour of difference is gone after two. The zero
// value is ready; it is for one goroutine.
type Clock struct {
	running Duration
	shown   Time
}

// MaxDrift is the difference up to which a Clock drifts. Beyond it the machine was asleep, or had no clock before, and what it
// shows is taken over at once.
const MaxDrift = 2 * Hour

// Show returns the time for what the machine's clock shows, and how long it has been running by a clock that nobody sets.
func (c *Clock) Show(machine Time, running Duration) Time {
	passed := max(running-c.running, 0)
	off := machine.Sub(c.shown.Add(passed))
	if c.shown == 0 || off > MaxDrift || off < -MaxDrift {
		c.shown = machine
	} else {
		c.shown = c.shown.Add(passed + min(max(off, -passed/2), passed/2))
	}
	c.running = running
	return c.shown
}
