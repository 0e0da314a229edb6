package runc

// callTable names the system calls of this architecture and their numbers, in the order of these.
const callTable = "" +
	"read 0\nwrite 1\nopen 2\nclose 3\nstat 4\nfstat 5\nlstat 6\npoll 7\nlseek 8\nmmap 9\nmprotect 10\nmunmap 11\n" +
	"brk 12\nrt_sigaction 13\nrt_sigprocmask 14\nrt_sigreturn 15\nioctl 16\npread64 17\npwrite64 18\nreadv 19\n" +
	"writev 20\naccess 21\npipe 22\nselect 23\nsched_yield 24\nmremap 25\nmsync 26\nmincore 27\nmadvise 28\n" +
	"shmget 29\nshmat 30\nshmctl 31\ndup 32\ndup2 33\npause 34\nnanosleep 35\ngetitimer 36\nalarm 37\n" +
	"setitimer 38\ngetpid 39\nsendfile 40\nsocket 41\nconnect 42\naccept 43\nsendto 44\nrecvfrom 45\nsendmsg 46\n" +
	"recvmsg 47\nshutdown 48\nbind 49\nlisten 50\ngetsockname 51\ngetpeername 52\nsocketpair 53\nsetsockopt 54\n" +
	"getsockopt 55\nclone 56\nfork 57\nvfork 58\nexecve 59\nexit 60\nwait4 61\nkill 62\nuname 63\nsemget 64\n" +
	"semop 65\nsemctl 66\nshmdt 67\nmsgget 68\nmsgsnd 69\nmsgrcv 70\nmsgctl 71\nfcntl 72\nflock 73\nfsync 74\n" +
	"fdatasync 75\ntruncate 76\nftruncate 77\ngetdents 78\ngetcwd 79\nchdir 80\nfchdir 81\nrename 82\nmkdir 83\n" +
	"rmdir 84\ncreat 85\nlink 86\nunlink 87\nsymlink 88\nreadlink 89\nchmod 90\nfchmod 91\nchown 92\nfchown 93\n" +
	"lchown 94\numask 95\ngettimeofday 96\ngetrlimit 97\ngetrusage 98\nsysinfo 99\ntimes 100\nptrace 101\n" +
	"getuid 102\nsyslog 103\ngetgid 104\nsetuid 105\nsetgid 106\ngeteuid 107\ngetegid 108\nsetpgid 109\n" +
	"getppid 110\ngetpgrp 111\nsetsid 112\nsetreuid 113\nsetregid 114\ngetgroups 115\nsetgroups 116\n" +
	"setresuid 117\ngetresuid 118\nsetresgid 119\ngetresgid 120\ngetpgid 121\nsetfsuid 122\nsetfsgid 123\n" +
	"getsid 124\ncapget 125\ncapset 126\nrt_sigpending 127\nrt_sigtimedwait 128\nrt_sigqueueinfo 129\n" +
	"rt_sigsuspend 130\nsigaltstack 131\nutime 132\nmknod 133\nuselib 134\npersonality 135\nustat 136\nstatfs 137\n" +
	"fstatfs 138\nsysfs 139\ngetpriority 140\nsetpriority 141\nsched_setparam 142\nsched_getparam 143\n" +
	"sched_setscheduler 144\nsched_getscheduler 145\nsched_get_priority_max 146\nsched_get_priority_min 147\n" +
	"sched_rr_get_interval 148\nmlock 149\nmunlock 150\nmlockall 151\nmunlockall 152\nvhangup 153\nmodify_ldt 154\n" +
	"pivot_root 155\n_sysctl 156\nprctl 157\narch_prctl 158\nadjtimex 159\nsetrlimit 160\nchroot 161\nsync 162\n" +
	"acct 163\nsettimeofday 164\nmount 165\numount2 166\nswapon 167\nswapoff 168\nreboot 169\nsethostname 170\n" +
	"setdomainname 171\niopl 172\nioperm 173\ncreate_module 174\ninit_module 175\ndelete_module 176\n" +
	"get_kernel_syms 177\nquery_module 178\nquotactl 179\nnfsservctl 180\ngetpmsg 181\nputpmsg 182\n" +
	"afs_syscall 183\ntuxcall 184\nsecurity 185\ngettid 186\nreadahead 187\nsetxattr 188\nlsetxattr 189\n" +
	"fsetxattr 190\ngetxattr 191\nlgetxattr 192\nfgetxattr 193\nlistxattr 194\nllistxattr 195\nflistxattr 196\n" +
	"removexattr 197\nlremovexattr 198\nfremovexattr 199\ntkill 200\ntime 201\nfutex 202\nsched_setaffinity 203\n" +
	"sched_getaffinity 204\nset_thread_area 205\nio_setup 206\nio_destroy 207\nio_getevents 208\nio_submit 209\n" +
	"io_cancel 210\nget_thread_area 211\nlookup_dcookie 212\nepoll_create 213\nepoll_ctl_old 214\n" +
	"epoll_wait_old 215\nremap_file_pages 216\ngetdents64 217\nset_tid_address 218\nrestart_syscall 219\n" +
	"semtimedop 220\nfadvise64 221\ntimer_create 222\ntimer_settime 223\ntimer_gettime 224\ntimer_getoverrun 225\n" +
	"timer_delete 226\nclock_settime 227\nclock_gettime 228\nclock_getres 229\nclock_nanosleep 230\n" +
	"exit_group 231\nepoll_wait 232\nepoll_ctl 233\ntgkill 234\nutimes 235\nvserver 236\nmbind 237\n" +
	"set_mempolicy 238\nget_mempolicy 239\nmq_open 240\nmq_unlink 241\nmq_timedsend 242\nmq_timedreceive 243\n" +
	"mq_notify 244\nmq_getsetattr 245\nkexec_load 246\nwaitid 247\nadd_key 248\nrequest_key 249\nkeyctl 250\n" +
	"ioprio_set 251\nioprio_get 252\ninotify_init 253\ninotify_add_watch 254\ninotify_rm_watch 255\n" +
	"migrate_pages 256\nopenat 257\nmkdirat 258\nmknodat 259\nfchownat 260\nfutimesat 261\nnewfstatat 262\n" +
	"unlinkat 263\nrenameat 264\nlinkat 265\nsymlinkat 266\nreadlinkat 267\nfchmodat 268\nfaccessat 269\n" +
	"pselect6 270\nppoll 271\nunshare 272\nset_robust_list 273\nget_robust_list 274\nsplice 275\ntee 276\n" +
	"sync_file_range 277\nvmsplice 278\nmove_pages 279\nutimensat 280\nepoll_pwait 281\nsignalfd 282\n" +
	"timerfd_create 283\neventfd 284\nfallocate 285\ntimerfd_settime 286\ntimerfd_gettime 287\naccept4 288\n" +
	"signalfd4 289\neventfd2 290\nepoll_create1 291\ndup3 292\npipe2 293\ninotify_init1 294\npreadv 295\n" +
	"pwritev 296\nrt_tgsigqueueinfo 297\nperf_event_open 298\nrecvmmsg 299\nfanotify_init 300\nfanotify_mark 301\n" +
	"prlimit64 302\nname_to_handle_at 303\nopen_by_handle_at 304\nclock_adjtime 305\nsyncfs 306\nsendmmsg 307\n" +
	"setns 308\ngetcpu 309\nprocess_vm_readv 310\nprocess_vm_writev 311\nkcmp 312\nfinit_module 313\n" +
	"sched_setattr 314\nsched_getattr 315\nrenameat2 316\nseccomp 317\ngetrandom 318\nmemfd_create 319\n" +
	"kexec_file_load 320\nbpf 321\nexecveat 322\nuserfaultfd 323\nmembarrier 324\nmlock2 325\ncopy_file_range 326\n" +
	"preadv2 327\npwritev2 328\npkey_mprotect 329\npkey_alloc 330\npkey_free 331\nstatx 332\nio_pgetevents 333\n" +
	"rseq 334\nuretprobe 335\nuprobe 336\npidfd_send_signal 424\nio_uring_setup 425\nio_uring_enter 426\n" +
	"io_uring_register 427\nopen_tree 428\nmove_mount 429\nfsopen 430\nfsconfig 431\nfsmount 432\nfspick 433\n" +
	"pidfd_open 434\nclone3 435\nclose_range 436\nopenat2 437\npidfd_getfd 438\nfaccessat2 439\n" +
	"process_madvise 440\nepoll_pwait2 441\nmount_setattr 442\nquotactl_fd 443\nlandlock_create_ruleset 444\n" +
	"landlock_add_rule 445\nlandlock_restrict_self 446\nmemfd_secret 447\nprocess_mrelease 448\nfutex_waitv 449\n" +
	"set_mempolicy_home_node 450\ncachestat 451\nfchmodat2 452\nmap_shadow_stack 453\nfutex_wake 454\n" +
	"futex_wait 455\nfutex_requeue 456\nstatmount 457\nlistmount 458\nlsm_get_self_attr 459\n" +
	"lsm_set_self_attr 460\nlsm_list_modules 461\nmseal 462\nsetxattrat 463\ngetxattrat 464\nlistxattrat 465\n" +
	"removexattrat 466\nopen_tree_attr 467\nfile_getattr 468\nfile_setattr 469\nlistns 470\nrseq_slice_yield 471\n"
