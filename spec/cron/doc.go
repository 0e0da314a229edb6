// Package cron says when something is due by the clock of a place: "0 3 * * *" in Europe/Berlin. It is pure: the time is
// given, and the rules of the time zones are part of the program, so that every master and every preview agrees.
//
// An expression has five fields: minute, hour, day of the month, month, day of the week. A field is *, a value, a range
// (1-5), any of them with a step (*/15, 8-18/2), or a list of those. Months and days of the week have names (jan, mon).
// When both days are restricted, either is enough. @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually
// stand for the expression that their name says.
//
// Twice a year many places change their clocks. An expression that names hours fires once for each time it names: what
// the clock skips is due at the moment after the gap, what it shows twice is due the first time. One whose hours are *
// (every quarter of an hour, say) goes by time that really passes: nothing extra after a gap, and both times of an hour
// that comes twice.
package cron
