// The last step before a task's command, executed inside its container with the task's user and capabilities.
//
//	/proc/self/exe stowage-run COMMAND ARGUMENTS...
//
// Descriptor 3 is a file with a seccomp program (empty: none), 4 a pipe to the executor that closes with a successful execve, or
// brings two bytes: a step and an errno. It runs as a constructor, before the Go runtime, so that it costs next to nothing;
// glibc hands constructors the arguments of main.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "join.h"

enum { FILTER_FD = 3, STATUS_FD = 4 };
enum { STEP_FILTER = 1, STEP_EXEC = 2 };
enum { BUILD_SLACK_NS = 1000000, DEFAULT_SLACK_NS = 50000 };

static void fail(unsigned char step, int err)
{
	unsigned char status[2] = { step, (unsigned char)err };
	ssize_t n = write(STATUS_FD, status, sizeof status);
	(void)n;
	_exit(err == ENOENT ? 127 : 126);
}

static void install_filter(void)
{
	struct stat st;
	if (fstat(FILTER_FD, &st) < 0)
		fail(STEP_FILTER, errno);
	if (st.st_size > 0) {
		void *code = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, FILTER_FD, 0);
		if (code == MAP_FAILED)
			fail(STEP_FILTER, errno);
		struct sock_fprog prog = { .len = st.st_size / sizeof(struct sock_filter), .filter = code };
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
			fail(STEP_FILTER, errno);
	}
	close(FILTER_FD);
	close(JOIN_FD);
}

// execute looks the command up in PATH as execvp does, but for empty elements: the working directory is never searched.
static int execute(char **argv, char **envp)
{
	const char *path = NULL;
	size_t len = strlen(argv[0]);
	int err = ENOENT;

	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, envp);
		return errno;
	}
	for (char **e = envp; *e; e++)
		if (!strncmp(*e, "PATH=", 5))
			path = *e + 5;
	while (path && *path) {
		const char *end = strchrnul(path, ':');
		size_t dir = end - path;
		char file[PATH_MAX];
		if (dir > 0 && dir + len + 2 <= sizeof file) {
			memcpy(file, path, dir);
			file[dir] = '/';
			memcpy(file + dir + 1, argv[0], len + 1);
			execve(file, argv, envp);
			if (errno == EACCES)
				err = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		path = *end ? end + 1 : end;
	}
	return err;
}

__attribute__((constructor(101))) static void stowage_run(int argc, char **argv, char **envp)
{
	// The Go runtime has a thread that wakes every 20 us to look for stuck others. In the few milliseconds that it takes to build a
	// container this thread takes a tenth of the processor, here and in the executor; a coarser clock keeps it asleep.
	prctl(PR_SET_TIMERSLACK, BUILD_SLACK_NS);
	if (argc == 2 && !strcmp(argv[1], "init")) {
		stowage_join();
		return;
	}
	if (argc < 3 || strcmp(argv[1], "stowage-run") != 0)
		return;
	prctl(PR_SET_TIMERSLACK, DEFAULT_SLACK_NS);
	if (fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC) < 0)
		_exit(126);
	install_filter();
	fail(STEP_EXEC, execute(argv + 2, envp));
}
