// How the first process of a container comes into its cgroups: by itself, and not by the executor's writing its pid to cgroup.procs.
// The kernel takes a lock for that write that waits for an RCU grace period, 5 to 20 ms. It takes none for a thread that moves itself
// (cgroup v1), nor for a process that is born in a cgroup (v2).
//
// Descriptor 5 is a pipe that the executor has filled and closed. Each line is a letter and a folder:
//
//	t DIR    write 0 to DIR/tasks, a cgroup of v1
//	b DIR    be born in DIR, a cgroup of v2; the last line, if there is one
//
// This runs in the first process that libcontainer starts, before it makes any namespace. A process that cannot join ends, and the
// start with it: none goes on outside of its limits.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "join.h"

// MAX_LINES bounds all lines together: a pipe holds as much.
enum { MAX_LINES = 65536 };

// refuse tells the executor by the library's own way, as a message in its log.
static void refuse(const char *what, const char *dir)
{
	const char *number = getenv("_LIBCONTAINER_LOGPIPE");
	if (number)
		dprintf(atoi(number), "{\"level\":\"fatal\",\"msg\":\"join cgroup %s: %s: %s\"}\n", dir, what, strerror(errno));
	_exit(1);
}

static void put(const char *dir, const char *name, const char *value)
{
	int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		refuse("open", dir);
	int fd = openat(at, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		refuse("open", dir);
	if (write(fd, value, strlen(value)) < 0)
		refuse("write", dir);
	close(fd);
	close(at);
}

// reborn goes on in a copy of this process that is born in dir, a child of the same parent. The original only waits for it, so that
// the executor, which knows the original, finds both ended at once.
static void reborn(const char *dir)
{
	int pidfd = -1;
	int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		refuse("open", dir);
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP | CLONE_PARENT | CLONE_PIDFD,
		.pidfd = (unsigned long)&pidfd,
		.cgroup = at,
	};
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0) {
		// A kernel before 5.7, or one under a supervisor that forbids the call: slower, but the same.
		close(at);
		put(dir, "cgroup.procs", "0");
		return;
	}
	if (pid == 0) {
		close(at);
		return;
	}
	struct pollfd end = { .fd = pidfd, .events = POLLIN };
	while (poll(&end, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

void stowage_join(void)
{
	static char lines[MAX_LINES];
	size_t size = 0;
	for (ssize_t n; size < sizeof lines - 1; size += n) {
		n = read(JOIN_FD, lines + size, sizeof lines - 1 - size);
		if (n < 0)
			refuse("read", "list");
		if (n == 0)
			break;
	}
	if (size == 0)
		return;
	char *next = lines;
	for (char *line; (line = strsep(&next, "\n"));) {
		if (line[0] == 't')
			put(line + 2, "tasks", "0");
		else if (line[0] == 'b')
			reborn(line + 2);
	}
	// A process keeps the choice of processors of whoever started it, within the cgroup's. The executor's is not the container's.
	unsigned char all[8192];
	memset(all, 0xff, sizeof all);
	syscall(SYS_sched_setaffinity, 0, sizeof all, all);
}
