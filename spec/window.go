package spec

// WindowName names a Window, one segment.
type WindowName string

// MaxWindow bounds how long a window stays open at a time.
const MaxWindow = 7 * 24 * Hour

// MaxWindows bounds the windows of a cluster, and those that one app names.
const MaxWindows = 64

// Window is a time that comes again and again in which work may be taken from the apps that keep to it: it opens when
// its cron expression is due in its time zone, and closes after Duration, by time that really passes.
type Window struct {
	Name     WindowName `json:"name"`
	Cron     string     `json:"cron"`
	Timezone string     `json:"timezone,omitempty"` // "" is UTC
	Duration Duration   `json:"duration"`
	Pos      Pos        `json:"pos"`
}

// WindowsOf returns the windows that changes of an app wait for: its own, or else the cluster's. None: any time will do.
func (c *Cluster) WindowsOf(a *App) []WindowName {
	if a.Update.Windows != nil {
		return a.Update.Windows
	}
	return c.Disruption.Windows
}

// WindowWait is what changes of an app wait for.
type WindowWait struct {
	Window WindowName `json:"window"` // of several, the one that opens first
	Opens  Time       `json:"opens"`  // 0: never, as the commit does not have it
	Text   string     `json:"text"`   // "window nightly opens Fri 02:00 CET"
}
