package host

import (
	"os"
	"os/signal"
	"syscall"
)

func ignore(sigs chan os.Signal) { signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) }

func hostAlone() {}
