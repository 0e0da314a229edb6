// The last step before a task's command, executed inside its container with the task's user and capabilities.
//
//	/proc/self/exe stowage-run[-parked][-as:UID:GID:CAPABILITIES:GROUPS] COMMAND ARGUMENTS...
//
// With -parked it waits until the executor lets it go on, and ends if that ends first. Here this costs next to no memory; the library's
// own way to wait keeps a Go runtime for it.
//
// With -as it is for a task that may gain privileges: it begins as root of the container, and becomes the user on the way; see
// filterfirst.go. CAPABILITIES is a mask, GROUPS are divided by commas; all numbers are decimal.
//
// Descriptor 3 is a file with a seccomp program (empty: none), 4 a pipe to the executor that closes with a successful execve, or
// brings two bytes: a step and an errno; 5 is closed; 6, of a parked one, is a pipe from the executor that brings a byte.
//
// It runs before the Go runtime, and where the program is linked with the entry point stowage_start (cmd/stowage-executor/build) before the C
// library too, which asks the processor about itself seventy times: in a virtual machine that takes longer than all that is done here.
// So nothing here may call the C library, or be turned into such a call by the compiler. Elsewhere it runs as a constructor.

#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "join.h"

enum { FILTER_FD = 3, STATUS_FD = 4, PARKED_FD = 6 };
enum { EXIT_ABANDONED = 137 };
enum { STEP_FILTER = 1, STEP_EXEC = 2, STEP_USER = 3 };
enum { MAX_GROUPS = 1024 };
// The runtime's thread that looks for stuck others wakes every 20 us. In the few milliseconds that it takes to build a container it takes a
// tenth of the processor; a coarser clock keeps it asleep. The executor's is less coarse: its own short waits depend on it.
enum { BUILD_SLACK_NS = 1000000, EXECUTOR_SLACK_NS = 250000, DEFAULT_SLACK_NS = 50000 };

// call makes a system call and returns its result, or a negative errno.
static long call(long number, long a, long b, long c, long d, long e, long f)
{
#ifdef __x86_64__
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
#else
	long result = syscall(number, a, b, c, d, e, f);
	return result < 0 ? -errno : result;
#endif
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void fail(unsigned char step, long err)
{
	unsigned char status[2] = { step, (unsigned char)err };
	call(SYS_write, STATUS_FD, (long)status, sizeof status, 0, 0, 0);
	call(SYS_exit_group, err == ENOENT ? 127 : 126, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

// after returns what follows a text at the beginning of another one, or NULL.
static const char *after(const char *a, const char *start)
{
	while (*start && *a == *start)
		a++, start++;
	return *start ? NULL : a;
}

// number reads a decimal number, and the sign behind it if there is one.
static unsigned long number(const char **at)
{
	unsigned long n = 0;
	for (; **at >= '0' && **at <= '9'; (*at)++)
		n = n * 10 + (**at - '0');
	if (**at)
		(*at)++;
	return n;
}

static void must(long result)
{
	if (result < 0)
		fail(STEP_USER, -result);
}

// become_user leaves the bounding set as it is to be, and becomes the user. What is kept for install_filter, the right to administer the
// container, ends with execve: it is not in the bounding set.
static void become_user(const char *as)
{
	static gid_t groups[MAX_GROUPS];
	long uid = number(&as), gid = number(&as), count = 0;
	unsigned long mask = number(&as);

	for (; *as && count < MAX_GROUPS; count++)
		groups[count] = number(&as);
	for (long cap = 0; call(SYS_prctl, PR_CAPBSET_READ, cap, 0, 0, 0, 0) >= 0; cap++)
		if (!(mask >> cap & 1))
			must(call(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0, 0));
	must(call(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0, 0));
	must(call(SYS_setgroups, count, (long)groups, 0, 0, 0, 0));
	must(call(SYS_setresgid, gid, gid, gid, 0, 0, 0));
	must(call(SYS_setresuid, uid, uid, uid, 0, 0, 0));
	mask |= 1UL << CAP_SYS_ADMIN;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = mask, .permitted = mask }, { .effective = mask >> 32, .permitted = mask >> 32 },
	};
	must(call(SYS_capset, (long)&head, (long)data, 0, 0, 0, 0));
}

static void install_filter(void)
{
	struct stat st;
	long err = call(SYS_fstat, FILTER_FD, (long)&st, 0, 0, 0, 0);
	if (err < 0)
		fail(STEP_FILTER, -err);
	// The filter of a task may not let them be closed afterwards.
	call(SYS_fcntl, FILTER_FD, F_SETFD, FD_CLOEXEC, 0, 0, 0);
	if (st.st_size > 0) {
		long code = call(SYS_mmap, 0, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, FILTER_FD, 0);
		if (code < 0 && code > -4096)
			fail(STEP_FILTER, -code);
		struct sock_fprog prog = { .len = st.st_size / sizeof(struct sock_filter), .filter = (void *)code };
		err = call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&prog, 0, 0, 0);
		if (err < 0)
			fail(STEP_FILTER, -err);
	}
}

// wait_parked returns once the executor says so.
static void wait_parked(void)
{
	char go;
	long got;

	do
		got = call(SYS_read, PARKED_FD, (long)&go, 1, 0, 0, 0);
	while (got == -EINTR);
	if (got != 1)
		call(SYS_exit_group, EXIT_ABANDONED, 0, 0, 0, 0, 0);
	call(SYS_close, PARKED_FD, 0, 0, 0, 0, 0);
}

static const char *path_of(char **envp)
{
	const char *path = NULL;
	for (; *envp; envp++) {
		const char *e = *envp;
		if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
			path = e + 5;
	}
	return path;
}

// execute looks the command up in PATH as execvp does, but for empty elements: the working directory is never searched.
static long execute(char **argv, char **envp)
{
	size_t len = 0;
	int err = ENOENT, slash = 0;

	for (; argv[0][len]; len++)
		slash |= argv[0][len] == '/';
	if (slash)
		return -call(SYS_execve, (long)argv[0], (long)argv, (long)envp, 0, 0, 0);
	for (const char *path = path_of(envp); path && *path;) {
		char file[PATH_MAX];
		size_t n = 0;
		for (; *path && *path != ':'; path++)
			if (n < sizeof file)
				file[n++] = *path;
		if (*path)
			path++;
		if (n == 0 || n + len + 2 > sizeof file)
			continue;
		file[n++] = '/';
		for (size_t i = 0; i <= len; i++)
			file[n + i] = argv[0][i];
		long got = -call(SYS_execve, (long)file, (long)argv, (long)envp, 0, 0, 0);
		if (got == EACCES)
			err = EACCES;
		else if (got != ENOENT && got != ENOTDIR)
			return got;
	}
	return err;
}

// run returns if something else is to be run.
static void run(int argc, char **argv, char **envp)
{
	const char *rest = argc < 3 ? NULL : after(argv[1], "stowage-run");
	const char *parked = rest ? after(rest, "-parked") : NULL;
	if (parked)
		rest = parked;
	const char *as = rest ? after(rest, "-as:") : NULL;
	if (!rest || (*rest && !as))
		return;
	call(SYS_prctl, PR_SET_TIMERSLACK, DEFAULT_SLACK_NS, 0, 0, 0, 0);
	long err = call(SYS_fcntl, STATUS_FD, F_SETFD, FD_CLOEXEC, 0, 0, 0);
	if (err < 0)
		fail(STEP_EXEC, -err);
	call(SYS_close, JOIN_FD, 0, 0, 0, 0, 0);
	if (parked)
		wait_parked();
	if (as)
		become_user(as);
	install_filter();
	fail(STEP_EXEC, execute(argv + 2, envp));
}

#ifdef __x86_64__
// stowage_start is the entry point: the kernel leaves argc at the top of the stack, followed by the arguments, a zero and the environment.
__asm__(".globl stowage_start\n"
	".type stowage_start, @function\n"
	"stowage_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rdx, %rbx\n"
	"	mov %rsp, %rdi\n"
	"	call stowage_first\n"
	"	mov %rbx, %rdx\n"
	"	jmp _start\n");

__attribute__((used)) void stowage_first(long *top)
{
	int argc = (int)top[0];
	char **argv = (char **)(top + 1);
	run(argc, argv, argv + argc + 1);
}
#endif

// forget_signals leaves every signal to its default action, and blocks none. What a process ignores or blocks its children do too, through
// execve: without this a task would ignore what somebody ignored who started the agent long ago, as nohup and background jobs do.
static void forget_signals(void)
{
	static const struct { void *handler; unsigned long rest[3]; } by_default; // struct sigaction as the kernel has it: SIG_DFL
	static const unsigned long none;
	for (long sig = 1; sig <= 64; sig++)
		syscall(SYS_rt_sigaction, sig, &by_default, NULL, sizeof none); // KILL and STOP are refused, and have no other action
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

// glibc hands constructors the arguments of main.
__attribute__((constructor(101))) static void stowage_prepare(int argc, char **argv, char **envp)
{
	run(argc, argv, envp);
	if (argc == 2 && same(argv[1], "init")) {
		prctl(PR_SET_TIMERSLACK, BUILD_SLACK_NS);
		forget_signals();
		stowage_join();
		return;
	}
	prctl(PR_SET_TIMERSLACK, EXECUTOR_SLACK_NS);
}
